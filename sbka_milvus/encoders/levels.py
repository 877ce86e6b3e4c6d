"""The first levels of a network alone: a small student that starts from weights which are there.

Image networks of timm make features on several levels, each from the one before (for MobileNetV2 five, at strides 2, 4,
8, 16 and 32), and most of their weights are in the last. What is left of a network whose last levels are cut off still
makes a feature of any picture. It is named in a backbone's options (``levels=4``), so that its bundle rebuilds it.
"""

from __future__ import annotations

import torch
from torch import nn

from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BackboneError

LEVELS = "levels"


def keep_levels(net: nn.Module, spec: BackboneSpec, count: int) -> int:
    """Cuts off what comes after the first levels.

    Args:
        net: a network of timm, with or without its classifier; changed in place. Its classifier goes, because it reads
            features that are not made any more.
        spec: its name, for messages.
        count: levels that stay, at least 1, fewer than timm counts (its ``feature_info``).

    Returns:
        D, the length of what :func:`pool_level` makes of its feature.

    Raises:
        BackboneError: timm knows no levels of this network, or not so many.
    """
    levels = getattr(net, "feature_info", None)
    cut = getattr(net, "prune_intermediate_layers", None)
    if not levels or not callable(cut):
        raise BackboneError(
            f"The levels of {spec} are not known, so that it cannot have {LEVELS}={count}.",
            f"Leave {LEVELS} out, or choose another backbone, for example timm:mobilenetv2_100.",
        )
    if count >= len(levels):
        raise BackboneError(
            f"{spec} has {len(levels)} levels, so that {LEVELS}={count} cuts nothing off.",
            f"Keep at most {len(levels) - 1}, or leave {LEVELS} out for the whole network.",
        )
    cut([count - 1])
    return int(net.num_features)  # type: ignore[arg-type]


def pool_level(net: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """The mean of a level's feature over all places of the picture.

    Args:
        net: the network that made it.
        features: shape (B, D, H, W), or (B, H, W, D) where the network's ``output_fmt`` says so, or (B, L, D) of
            tokens, of which class tokens and the like do not count.

    Returns:
        shape (B, D).
    """
    if features.ndim == 3:
        return features[:, int(getattr(net, "num_prefix_tokens", 0)) :].mean(dim=1)
    last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
    return features.mean(dim=(1, 2) if last else (2, 3))

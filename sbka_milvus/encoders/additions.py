"""Small parts that are added to a pre-trained transformer and train in its place: bottleneck adapters and prompts.

Both are named in a backbone's options (``adapters=64``, ``prompts=8``), so that its bundle rebuilds them, and both
leave what the transformer computes as it was until they are trained.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sbka_milvus.encoders.levels import LEVELS
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BackboneError

ADAPTERS, PROMPTS = "adapters", "prompts"
_FIRST_SHARE = 1e-3
_LEAST_SHARE = 1e-4


class Adapter(nn.Module):
    """x + up(gelu(down(x))), with ``up`` zero at first (Houlsby et al. 2019)."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, width)
        self.up = nn.Linear(width, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape, (..., dim)."""
        raised: torch.Tensor = self.up(functional.gelu(self.down(x)))
        return x + raised


class PromptedTransformer(nn.Module):
    """A transformer that is given further tokens beside those of the picture (VPT-shallow; Jia et al. 2022).

    Tokens of zeros would all learn the same, and any token takes attention away from the picture. So they start at
    random, and each has a factor on the attention that it gets, which starts at a thousandth: at first the picture's
    feature is that of the pre-trained transformer to about one part in ten thousand.

    Attributes:
        tokens: shape (count, width).
        share: shape (count,): the factors.
    """

    def __init__(self, inner: nn.Module, width: int, count: int) -> None:
        super().__init__()
        self.inner = inner
        self.tokens = nn.Parameter(nn.init.normal_(torch.empty(count, width), std=width**-0.5))
        self.share = nn.Parameter(torch.full((count,), _FIRST_SHARE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """shape (B, L, width), as without the prompts."""
        length, count = x.shape[1], len(self.tokens)
        extended = torch.cat([x, self.tokens.to(x.dtype).expand(len(x), -1, -1)], dim=1)
        # Added to the logits of attention, a logarithm is a factor on the attention.
        column = torch.cat([self.share.new_zeros(length), (self.share.abs() + _LEAST_SHARE).log()])
        attended: torch.Tensor = self.inner(extended, attn_mask=column.expand(length + count, -1))
        return attended[:, :length]


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """A library's own options, and the sizes of what is to be added or kept.

    Raises:
        BackboneError: A size is not a whole number above 0.

    >>> split_options({"pad_type": "same", "adapters": 64})
    ({'pad_type': 'same'}, {'adapters': 64})
    """
    added = {name: options[name] for name in (ADAPTERS, PROMPTS, LEVELS) if name in options}
    for name, size in added.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise BackboneError(f"A backbone cannot have {name}={size!r}.", "Give a whole number above 0.")
    return {name: value for name, value in options.items() if name not in added}, added


def takes_adapters(net: nn.Module) -> bool:
    """Whether :func:`add` finds transformer blocks in which adapters can stand."""
    return _blocks(net) is not None


def add(net: nn.Module, spec: BackboneSpec, sizes: dict[str, int]) -> None:
    """Adds adapters after the MLP of each block, and prompts before the first block.

    Args:
        net: an image tower of open_clip, or a timm model; changed in place.
        spec: its name, for messages.
        sizes: width of the adapters, number of prompts; see :func:`split_options`. Others are passed over.

    Raises:
        BackboneError: The network is no transformer of the kind that can take them.
    """
    found, wanted = _blocks(net), [name for name in sizes if name in (ADAPTERS, PROMPTS)]
    if wanted and found is None:
        raise BackboneError(
            f"{spec} has no transformer blocks in which {' or '.join(wanted)} can stand.",
            "Train its normalisation layers (--trainable norm) or all of it, or use a vision transformer.",
        )
    if ADAPTERS in sizes and found is not None:
        blocks, dim = found
        for block in blocks:
            parts: dict[str, nn.Module] = {"mlp": block.get_submodule("mlp"), "adapter": Adapter(dim, sizes[ADAPTERS])}
            block.mlp = nn.Sequential(OrderedDict(parts))
    if PROMPTS in sizes:
        transformer = getattr(net, "transformer", None)
        if not isinstance(transformer, nn.Module) or not getattr(transformer, "batch_first", False):
            raise BackboneError(
                f"{spec} cannot take prompts: only vision transformers of open_clip can.",
                "Train adapters instead: --trainable adapters.",
            )
        net.transformer = PromptedTransformer(transformer, int(transformer.width), sizes[PROMPTS])  # type: ignore[arg-type]


def _blocks(net: nn.Module) -> tuple[list[nn.Module], int] | None:
    """Blocks with an MLP, and the width of their tokens: open_clip's ViT, timm's ViT and its kin."""
    transformer = getattr(net, "transformer", None)
    blocks = getattr(net if transformer is None else transformer, "blocks" if transformer is None else "resblocks", ())
    dim = getattr(net, "embed_dim", None) if transformer is None else getattr(transformer, "width", None)
    members = list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []
    if (
        not members
        or not isinstance(dim, int)
        or not all(isinstance(getattr(one, "mlp", None), nn.Module) for one in members)
    ):
        return None
    return members, dim

"""Keeping the first stages of a network as they are: edges and textures are the same in every collection."""

from __future__ import annotations

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.errors import BackboneError


def freeze_stages(backbone: Backbone, count: int) -> None:
    """Takes a network's first stages out of the training: weights, and statistics of normalisation layers.

    No gradient goes through them, which saves most of the time of a training: the first stages have the largest maps.

    Args:
        backbone: a timm one; its stages are those by which timm itself groups its layers: the stem is the first.
        count: stages, fewer than there are; 0: none.

    Raises:
        BackboneError: The backbone has no such stages, or so few that nothing would be left to train.
    """
    if count == 0:
        return
    matcher = getattr(backbone.net, "group_matcher", None)
    if backbone.spec.library != "timm" or not callable(matcher):
        raise BackboneError(
            f"The stages of {backbone.spec} are not known.",
            "Train with --frozen-stages 0; --trainable says what trains.",
        )
    from timm.models import group_modules

    groups = group_modules(backbone.net, matcher(coarse=True))
    # timm numbers the classifier as a stage of its own, which a backbone does not have.
    stages = [names for _, names in sorted(groups.items()) if _holds_weights(backbone, names)]
    if count >= len(stages):
        raise BackboneError(
            f"{backbone.spec} has {len(stages)} stages, and {count} of them are to be frozen.",
            f"Freeze at most {len(stages) - 1}.",
        )
    names = [name for stage in stages[:count] for name in stage]
    for name in names:
        backbone.net.get_submodule(name).requires_grad_(False)
    backbone.frozen = tuple(names)
    backbone.train(backbone.training)


def _holds_weights(backbone: Backbone, names: list[str]) -> bool:
    return any(True for name in names for _ in backbone.net.get_submodule(name).parameters())

"""Which parameters of a backbone train."""

from __future__ import annotations

from typing import Literal

from torch import nn

from sbka_milvus.encoders.additions import Adapter, PromptedTransformer
from sbka_milvus.errors import BackboneError

Trainable = Literal["all", "norm", "adapters", "prompts"]


def choose_trainable(net: nn.Module, what: Trainable) -> None:
    """Takes ``requires_grad`` from all parameters that are not to train.

    Args:
        net: a backbone, as it was built.
        what: ``all`` that it trains by itself; or ``norm``: the scales and shifts of normalisation layers alone; or
            ``adapters`` or ``prompts``: these and the normalisation layers.

    Raises:
        BackboneError: The network has no adapters, or no prompts.
    """
    if what == "all":
        return
    net.requires_grad_(False)
    for module in net.modules():
        if "norm" in type(module).__name__.lower():
            # Its own alone: a block such as timm's NormMlpClassifierHead has other layers inside.
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(True)
    if what == "norm":
        return
    added = [module for module in net.modules() if isinstance(module, Adapter | PromptedTransformer)]
    wanted = [module for module in added if isinstance(module, Adapter) == (what == "adapters")]
    if not wanted:
        raise BackboneError(f"The backbone has no {what} to train.", f"Build it with the option {what}=NUMBER.")
    for module in wanted:
        for parameter in module.parameters(recurse=what == "adapters"):
            parameter.requires_grad_(True)


def has_adapters(net: nn.Module) -> bool:
    """Whether there are any."""
    return any(isinstance(module, Adapter) for module in net.modules())

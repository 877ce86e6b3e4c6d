"""The running mean of a network's weights (EMA; Polyak and Juditsky 1992, Tarvainen and Valpola 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Keeps an exponential mean of a network's weights, and lets the network wear it for a while.

    The statistics of batch normalisation are averaged like the weights, so that they are those of the features that
    averaged weights make; whole numbers, such as counts of batches, are copied.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """The mean starts as the network is.

        Args:
            net: whose weights; it must keep its tensors, as optimisers do.
            decay: share of itself that the mean keeps at most. After n changes it keeps min(decay, (1 + n) / (10 + n)),
                so that the weights of the very start are soon forgotten.
        """
        self._net = net
        self._decay = decay
        self._changes = 0
        self._mean = [tensor.detach().clone() for tensor in self._tensors()]

    def _tensors(self) -> list[torch.Tensor]:
        return [*self._net.parameters(), *self._net.buffers()]

    @torch.no_grad()
    def update(self) -> None:
        """Takes the network's weights into the mean; after each of their changes."""
        self._changes += 1
        kept = min(self._decay, (1 + self._changes) / (10 + self._changes))
        floating = [pair for pair in zip(self._mean, self._tensors(), strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in floating], [tensor.detach() for _, tensor in floating], 1 - kept)
        for mean, tensor in zip(self._mean, self._tensors(), strict=True):
            if not mean.is_floating_point():
                mean.copy_(tensor)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Within the block the network's weights are the mean; what the block makes of them is lost."""
        own = [tensor.detach().clone() for tensor in self._tensors()]
        self._put(self._mean)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        for tensor, value in zip(self._tensors(), values, strict=True):
            tensor.copy_(value)

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs."""
        return {"changes": self._changes, "mean": self._mean}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken.

        Raises:
            ValueError, RuntimeError: It is of another network.
        """
        for mean, value in zip(self._mean, state["mean"], strict=True):
            mean.copy_(value)
        self._changes = int(state["changes"])

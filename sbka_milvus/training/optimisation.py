"""Optimisers with their rates: who changes at a step, by how much, and after how many batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sbka_milvus.training.options import TrainingOptions


class Learner:
    """The weights of one network that train, and their optimiser."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], options: TrainingOptions, slow: Iterable[nn.Parameter] = ()
    ) -> None:
        """Nothing has changed yet.

        Args:
            parameters: those that train; others may be among them.
            options: kind of optimiser, rate, decay, and the length of gradient that is allowed.
            slow: those of them whose rate is ``backbone_rate_factor`` times that of the others.
        """
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        slower = {id(parameter) for parameter in slow} if options.backbone_rate_factor != 1.0 else set()
        groups = [
            {"params": [one for one in self.parameters if (id(one) in slower) == is_slow], "factor": factor}
            for is_slow, factor in ((False, 1.0), (True, options.backbone_rate_factor))
        ]
        self._clip_norm = options.clip_norm
        kind = torch.optim.Adam if options.optimiser == "adam" else torch.optim.AdamW
        self._optimiser = kind(
            [group for group in groups if group["params"]],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            foreach=True,
        )

    @property
    def gradients(self) -> list[torch.Tensor]:
        """Those that there are."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def forget(self) -> None:
        """Removes all gradients."""
        self._optimiser.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Changes the weights by their gradients at this learning rate, the slow ones at their share of it."""
        if self._clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self._clip_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs."""
        return self._optimiser.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken.

        Raises:
            ValueError: It is of other weights.
        """
        self._optimiser.load_state_dict(state)


def group_size(step: int, accumulate: int, steps: int) -> int:
    """Batches whose gradients are added up in the change that a batch belongs to; the epoch's last may be fewer.

    Args:
        step: of the batch, from 0.
        accumulate: batches to a change.
        steps: batches of the epoch.

    >>> [group_size(step, 3, 5) for step in range(5)]
    [3, 3, 3, 2, 2]
    """
    first = step - step % accumulate
    return min(accumulate, steps - first)

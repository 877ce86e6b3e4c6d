"""How the learning rate runs from the first step to the last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Form = Literal["exponential", "cosine"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Factors on a learning rate over some epochs.

    Attributes:
        form: ``exponential`` (the paper's): ``last ** (epoch / epochs)``, one rate an epoch; ``cosine``: half a cosine
            from 1 to ``last``, another rate each step (Loshchilov and Hutter 2017, without restarts).
        epochs: that it lasts.
        last: the factor at its end.
        warmup: epochs at its start over which the factor also climbs from 0 in a straight line.
    """

    form: Form
    epochs: float
    last: float
    warmup: float = 0.0

    def factor(self, at: float, width: float = 1.0) -> float:
        """The factor of one step.

        Args:
            at: epochs that are done when the step begins, whole and fraction.
            width: of the step, in epochs. The climb counts a step by its end, so that the first one does something.

        >>> Schedule("exponential", 4, 1e-4).factor(1.5)
        0.1
        >>> Schedule("cosine", 4, 0.0).factor(2.0)
        0.5
        >>> Schedule("cosine", 4, 0.0, warmup=1).factor(0.25, 0.25)
        0.5
        """
        climb = min(1.0, (at + width) / self.warmup) if self.warmup else 1.0
        if self.form == "exponential":
            return climb * float(self.last ** (math.floor(at) / self.epochs))
        left = self.epochs - self.warmup
        done = min(1.0, max(0.0, at - self.warmup) / left) if left > 0 else 0.0
        return climb * (self.last + (1 - self.last) * (1 + math.cos(math.pi * done)) / 2)

"""A clock for tests of what is timed: nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Clock:
    """Time goes by as those that are timed say."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float, run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
        def timed(pixels: torch.Tensor) -> torch.Tensor:
            self.now += seconds
            return run(pixels)

        return timed

"""What the teacher knows of each seen category: the mean of its distributions over the known classes, from photos.

A teacher that knows photos alone has nothing to say of sketches. But it has seen photos of the sketch's category, and
what it said of these is a lesson for the sketch, too: so sketches of seen categories are led to where photos lie among
the known classes, and with them sketches of categories that are never seen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from sbka_milvus.training.losses import soft_cross_entropy

REMEMBERED = 256
"""Photos of a category after which older ones fade: a teacher that learns changes its mind."""


class CategoryLessons:
    """A running mean, by category, of distributions over the known classes."""

    def __init__(self, n_seen: int, n_known: int, device: torch.device) -> None:
        """Nothing is known yet.

        Args:
            n_seen: S, seen categories.
            n_known: C, known classes.
            device: where the means are kept.
        """
        self._means = torch.zeros(n_seen, n_known, device=device)
        self._counts = torch.zeros(n_seen, device=device)

    @torch.no_grad()
    def hear(self, labels: torch.Tensor, target_logits: torch.Tensor) -> None:
        """Takes in what the teacher says of photos.

        Args:
            labels: shape (P,), int64: seen categories.
            target_logits: shape (P, C): whose softmax is the distribution.
        """
        said = functional.softmax(target_logits.float(), dim=-1)
        counts = torch.zeros_like(self._counts).index_add_(0, labels, torch.ones_like(labels, dtype=torch.float32))
        sums = torch.zeros_like(self._means).index_add_(0, labels, said)
        before = self._counts.clamp(max=REMEMBERED)
        heard = counts > 0
        total = (before + counts)[heard, None]
        self._means[heard] = (self._means[heard] * before[heard, None] + sums[heard]) / total
        self._counts += counts

    def loss(self, labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of sketches' scores against the lessons of their categories.

        Args:
            labels: shape (S,), int64: seen categories.
            logits: shape (S, C): the student's.

        Returns:
            Scalar: mean over the sketches of categories of which something is known; 0 where there are none. Of several
            processes that train together each takes the mean over its own sketches.
        """
        known = self._counts[labels] > 0
        if not bool(known.any()):
            return logits.sum() * 0.0
        # The softmax of a distribution's logarithm is that distribution.
        target = self._means[labels[known]].clamp_min(1e-12).log()
        return soft_cross_entropy(logits[known], target)

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs."""
        return {"means": self._means, "counts": self._counts}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken.

        Raises:
            RuntimeError: It is of other categories or classes.
        """
        self._means.copy_(state["means"])
        self._counts.copy_(state["counts"])

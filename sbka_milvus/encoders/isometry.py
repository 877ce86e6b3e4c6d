"""From a space of few dimensions into one of many, with all lengths and angles kept."""

from __future__ import annotations

import torch
from torch import nn


class Isometry(nn.Module):
    """A linear map that learns where in a large space a small one lies, and changes no cosine within it.

    So features of a small student can be held against those of a wide teacher, and what is learned is of the student's
    own space: the map is not needed afterwards.

    Attributes:
        weight: shape (large, small), float32; the map is the orthonormal factor of its QR decomposition, with signs by
            which an orthonormal weight is the map itself.
    """

    def __init__(self, small: int, large: int) -> None:
        """A random isometry.

        Args:
            small: dimensions of what is mapped.
            large: dimensions of the space that it is mapped into, at least as many.
        """
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(large, small)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps rows.

        Args:
            x: shape (B, small), float32.

        Returns:
            shape (B, large), float32, of the same lengths and with the same cosines.
        """
        orthonormal, triangular = torch.linalg.qr(self.weight)
        mapped: torch.Tensor = (x * triangular.diagonal().sign()) @ orthonormal.T
        return mapped

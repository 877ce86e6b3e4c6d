"""Maps that keep lengths and angles, while they are learned, too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sbka_milvus.encoders.isometry import Isometry


def rows(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("small", "large"), [(1, 1), (3, 8), (8, 8)])
def test_lengths_and_angles_are_kept(small: int, large: int) -> None:
    torch.manual_seed(0)
    isometry, x = Isometry(small, large), rows(5, small)
    for _ in range(2):
        y = isometry(x)
        assert y.shape == (5, large)
        assert torch.allclose(y @ y.T, x @ x.T, atol=1e-5)
        with torch.no_grad():
            isometry.weight.add_(rows(large, small, 7))


def test_a_weight_that_is_orthonormal_is_the_map() -> None:
    torch.manual_seed(0)
    isometry, x = Isometry(4, 9), rows(3, 4)
    assert torch.allclose(isometry(x), x @ isometry.weight.T, atol=1e-6)


def test_it_finds_the_space_that_it_is_shown() -> None:
    torch.manual_seed(0)
    hidden, isometry, x = Isometry(3, 10), Isometry(3, 10), rows(40, 3)
    target = hidden(x).detach()
    before = functional.cosine_similarity(isometry(x), target).mean().item()
    optimiser = torch.optim.Adam(isometry.parameters(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        (1 - functional.cosine_similarity(isometry(x), target)).mean().backward()
        optimiser.step()
    assert before < 0.7
    assert functional.cosine_similarity(isometry(x), target).mean().item() > 0.999

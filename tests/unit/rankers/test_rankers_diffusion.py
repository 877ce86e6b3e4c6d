"""Scores that flow along a gallery's neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Diffusion, Fused, Plain, rank_positions
from sbka_milvus.rankers.diffusion import normalised, spread
from sbka_milvus.rankers.graph import neighbour_graph
from sbka_milvus.types import normalise


def graph(*rows: list[float]) -> sparse.csr_array:
    return sparse.csr_array(np.array(rows, dtype=float))


def test_a_chain_of_three_by_hand():
    """W is a path a - b - c: the ends have one neighbour, the middle two, so each edge weighs s = 1/sqrt 2."""
    path = graph([0, 1, 0], [1, 0, 1], [0, 1, 0])
    s = np.sqrt(0.5)
    np.testing.assert_allclose(normalised(path).toarray(), [[0, s, 0], [s, 0, s], [0, s, 0]])
    a = 0.5
    # (I - aS)^-1 e_b has the middle 1/(1 - a^2) and the ends a s/(1 - a^2).
    expected = (1 - a) * np.array([[a * s, 1, a * s]]) / (1 - a**2)
    np.testing.assert_allclose(spread(path, np.array([[0.0, 1, 0]]), a), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 0.99])
def test_the_iteration_agrees_with_the_closed_form_and_with_the_series(world, alpha):
    affinity = neighbour_graph(world.gallery, 6, 2.0)
    start = np.random.default_rng(0).random((4, len(world.gallery))) ** 5
    direct, iterative = (spread(affinity, start, alpha, solver) for solver in ("direct", "iterative"))
    np.testing.assert_allclose(iterative, direct, rtol=1e-4, atol=1e-7)
    step, term = normalised(affinity).toarray(), start.copy()
    series = np.zeros_like(start)
    for _ in range(3000):
        series += (1 - alpha) * term
        term = alpha * term @ step
    np.testing.assert_allclose(direct, series, rtol=1e-6, atol=1e-9)


def test_photos_without_neighbours_keep_their_share_alone():
    found = spread(graph([0, 0], [0, 0]), np.array([[0.4, 0.6]]), 0.9)
    np.testing.assert_allclose(found, [[0.04, 0.06]])


def test_alpha_zero_keeps_the_order_of_the_base_for_positive_scores(world):
    found = rank_positions(Diffusion(alpha=0.0, power=1.0).scores(world.queries, world.gallery))
    plain = Plain().scores(world.queries, world.gallery)
    for row, order in enumerate(rank_positions(plain)):
        positive = int((plain[row] > 1e-4).sum())
        assert (np.abs(plain[row][found[row][:positive]] - plain[row][order[:positive]]) < 1e-5).all()


def test_the_flow_reaches_kin_that_the_sketch_does_not_see():
    """A chain leads from the photo that the sketch resembles to one at a right angle to it; a stray one is nearer."""
    angles = np.radians([0, 20, 40, 60, 80, 90])
    chain = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    stray = np.array([[0.2, 0, np.sqrt(1 - 0.04)]])
    gallery = normalise(np.concatenate([chain, stray]))
    query = np.eye(1, 3, dtype=np.float32)
    plain, spread_out = Plain().scores(query, gallery)[0], Diffusion(k=2).scores(query, gallery)[0]
    assert plain[5] < plain[6]
    assert spread_out[5] > spread_out[6]


def test_diffusion_helps_and_the_power_is_why(world):
    worth = {
        name: world.average_precision(ranker.scores(world.queries, world.gallery))
        for name, ranker in {"plain": Plain(), "power": Diffusion(), "flat": Diffusion(power=1.0)}.items()
    }
    assert worth["power"] > 1.1 * worth["plain"]
    assert worth["power"] > worth["flat"]


def test_a_large_gallery_is_solved_sparsely_and_equally(world, monkeypatch):
    dense = Diffusion(Fused(8)).scores(world.queries, world.gallery)
    monkeypatch.setattr("sbka_milvus.rankers.diffusion._LARGEST_DIRECT", 10)
    np.testing.assert_allclose(Diffusion(Fused(8)).scores(world.queries, world.gallery), dense, rtol=1e-3, atol=1e-7)


def test_a_sketch_that_is_like_nothing_scores_nothing():
    gallery = np.tile(np.eye(1, 3, dtype=np.float32), (4, 1))
    assert (Diffusion(solver="iterative").scores(-gallery[:1], gallery) == 0).all()


@pytest.mark.parametrize(
    "bad", [{"alpha": 1.0}, {"alpha": -0.1}, {"k": 0}, {"power": 0.0}, {"graph_power": -1.0}, {"solver": "magic"}]
)
def test_bad_numbers_are_refused(bad):
    with pytest.raises(InvalidValue, match=next(iter(bad))):
        Diffusion(**bad)


def test_scores_of_another_gallery_do_not_fit():
    with pytest.raises(InvalidValue, match="do not fit a graph of 2"):
        spread(graph([0, 1], [1, 0]), np.ones((1, 3)), 0.5)

"""Photos standing in for sketches."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import Fused, Plain
from sbka_milvus.rankers.self_retrieval import SelfRetrievalOptions, View, find_kin, make_views, self_retrieval


def test_finding_kin_by_hand():
    """Ranked for photo 0: itself (left out), 1, 2, 3; kin are 1 and 3, so AP = (1/1 + 2/3) / 2."""
    angles = np.radians([0, 10, 20, 30])
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    view = View(gallery[:1], gallery, np.array([0]), np.array([[False, True, False, True]]))
    assert find_kin([view], [Plain()]) == (pytest.approx((1 + 2 / 3) / 2),)


def test_views_come_in_pairs_that_judge_each_other(world):
    options = SelfRetrievalOptions(n_cuts=3, n_kin=4, most_photos=50, most_queries=20)
    views = make_views(world.gallery, options, 0)
    assert len(views) == 6
    for view in views:
        assert view.gallery.shape[0] == 50
        assert view.kin.shape == (20, 50)
        assert (view.kin.sum(axis=1) == 4).all()
        assert not view.kin[np.arange(20), view.rows].any()
        np.testing.assert_allclose(np.linalg.norm(view.queries, axis=1), 1, atol=1e-5)


def test_noise_turns_a_query_by_what_was_said(world):
    for noise, degrees in ((0.0, 0.0), (1.0, 45.0)):
        view = make_views(world.gallery, SelfRetrievalOptions(noise=noise, n_cuts=4), 0)[0]
        cosines = (view.queries * view.gallery[view.rows]).sum(axis=1)
        assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean() == pytest.approx(degrees, abs=6)


def test_it_tells_what_labels_would(world):
    """Clusters help this world, and finding kin says so without a label."""
    rankers = Plain(), Fused(12, n_clusterings=3)
    kin = self_retrieval(world.gallery, rankers, seed=1)
    labelled = [world.average_precision(ranker.scores(world.queries, world.gallery)) for ranker in rankers]
    assert kin[0] < kin[1]
    assert labelled[0] < labelled[1]


def test_the_same_seed_gives_the_same(world):
    one, again, other = (self_retrieval(world.gallery, [Plain()], seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_photos_without_one_half_of_the_features_are_borne():
    gallery = np.eye(6, dtype=np.float32)
    assert 0.0 < self_retrieval(gallery, [Plain()])[0] <= 1.0


def test_too_small_galleries_and_bad_numbers_are_refused(world):
    with pytest.raises(InvalidValue, match="too small"):
        self_retrieval(world.gallery[:3], [Plain()])
    for bad in ({"noise": -1.0}, {"n_kin": 0}, {"n_cuts": 0}, {"most_photos": 0}, {"most_queries": 0}):
        with pytest.raises(InvalidValue, match=next(iter(bad))):
            SelfRetrievalOptions(**bad)

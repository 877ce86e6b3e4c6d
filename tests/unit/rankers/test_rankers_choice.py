"""How to match, without labels."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import AlignedRanker, ChoiceOptions, Fused, Plain, choose_matching, mean_of
from sbka_milvus.rankers.choice import shuffle
from sbka_milvus.types import normalise


@pytest.fixture(scope="module")
def choice(world):
    return choose_matching(world.gallery)


def test_clusters_are_chosen_where_there_are_categories(choice):
    assert not choice.plain
    assert 6 <= choice.n_clusters <= 19
    assert choice.weight in ChoiceOptions().weights
    assert choice.kin_by_weight[choice.weight] == max(choice.kin_by_weight.values())
    assert choice.n_subspaces == 1
    assert choice.ranker(3) == Fused(choice.n_clusters, choice.weight, 3)


def test_the_choice_comes_near_to_that_of_labels(world, choice):
    def worth(matcher):
        ranker = AlignedRanker(matcher, sketch_mean=mean_of(world.training))
        return world.average_precision(ranker.scores(world.queries, world.gallery))

    oracle = max(worth(Fused(k, 0.8, 5)) for k in choice.silhouettes)
    assert worth(choice.ranker()) > 0.97 * oracle
    assert worth(choice.ranker()) > 1.05 * worth(Plain())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_gallery_without_kin_is_ranked_plainly(seed):
    gallery = normalise(np.random.default_rng(seed).normal(size=(80, 32)))
    choice = choose_matching(gallery)
    assert choice.plain
    assert choice.weight == 0.0
    assert choice.ranker() == Plain()


def test_the_same_seed_gives_the_same_choice(world, choice):
    assert choose_matching(world.gallery) == choice


def test_a_handful_of_photos_is_ranked_plainly(world):
    choice = choose_matching(world.gallery[:7])
    assert (choice.n_clusters, choice.plain) == (1, True)
    assert math.isnan(choice.kin_by_weight[0.0])


def test_photos_that_are_all_the_same_are_ranked_plainly(world):
    assert choose_matching(np.tile(world.gallery[:1], (20, 1))).plain


def test_it_is_told_in_json(choice):
    told = json.loads(json.dumps(choice.to_dict()))
    assert told["n_clusters"] == choice.n_clusters
    assert told["silhouettes"][str(choice.n_clusters)] == pytest.approx(choice.silhouettes[choice.n_clusters], abs=1e-4)


def test_shuffling_keeps_features_and_undoes_kin(world):
    mixed = shuffle(world.gallery, 0)
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-5)
    one, other = (np.linalg.svd(rows - rows.mean(0), compute_uv=False)[0] for rows in (world.gallery, mixed))
    assert other < 0.8 * one


def test_nothing_to_choose_from_is_refused(world):
    for bad in ({"roots": ()}, {"weights": ()}, {"subspaces": ()}, {"n_starts": 1}, {"roots": (-1.0,)}):
        with pytest.raises(InvalidValue):
            ChoiceOptions(**bad)
    with pytest.raises(InvalidValue, match="holds no photo"):
        choose_matching(world.gallery[:0])

"""Photos that are near to every sketch."""

from __future__ import annotations

import numpy as np
import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers import AlignedRanker, AlignmentOptions, Diffusion, Fused, Levelled, Plain, mean_of
from sbka_milvus.rankers import levelled as module


def test_levels_by_hand():
    bank = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=np.float32)
    gallery = np.eye(2, dtype=np.float32)
    ranker = Levelled(Plain(), bank, weight=0.5, share=0.5)
    np.testing.assert_allclose(ranker.levels(gallery.astype(float)), [0.8, 0.9], atol=1e-6)
    np.testing.assert_allclose(ranker.scores(gallery[:1], gallery), [[1 - 0.4, -0.45]], atol=1e-6)


def test_a_share_of_nothing_is_the_best_one():
    bank = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert Levelled(Plain(), bank, share=0.0).levels(np.array([[1.0, 0]])).tolist() == [1.0]


def test_a_hub_falls_behind():
    """Photo 0 is what every training sketch resembles most; the query is a little nearer to it than to photo 1."""
    bank = np.tile(np.array([[1, 0]], dtype=np.float32), (5, 1))
    gallery = np.eye(2, dtype=np.float32)
    query = np.array([[0.72, np.sqrt(1 - 0.72**2)]], dtype=np.float32)
    assert Plain().scores(query, gallery).argmax() == 0
    assert Levelled(Plain(), bank).scores(query, gallery).argmax() == 1


def test_blocks_change_nothing(world, monkeypatch):
    ranker = Levelled(Fused(6), world.training)
    whole = ranker.scores(world.queries, world.gallery)
    monkeypatch.setattr(module, "_SCORES_PER_BLOCK", 1)
    np.testing.assert_allclose(ranker.scores(world.queries, world.gallery), whole, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda ranker: ranker, Diffusion])
def test_its_sketches_move_into_the_space_of_the_alignment(world, wrap):
    mean, options = mean_of(world.training), AlignmentOptions("projected", 6)
    aligned = AlignedRanker(wrap(Levelled(Plain(), world.training)), options, mean)
    alignment = aligned.alignment(world.queries, world.gallery)
    by_hand = wrap(Levelled(Plain(), alignment.sketches(world.training)))
    np.testing.assert_array_equal(
        aligned.scores(world.queries, world.gallery),
        by_hand.scores(alignment.sketches(world.queries), alignment.photos(world.gallery)),
    )


def test_what_does_not_fit_is_refused(world):
    with pytest.raises(InvalidValue, match="no training sketch"):
        Levelled(Plain(), world.training[:0])
    with pytest.raises(InvalidValue, match="weight is 2"):
        Levelled(Plain(), world.training, 2.0)
    with pytest.raises(InvalidValue, match="share is -1"):
        Levelled(Plain(), world.training, share=-1.0)
    with pytest.raises(InvalidValue, match="Training sketches of 256 dimensions do not fit a gallery of 2"):
        Levelled(Plain(), world.training).scores(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))

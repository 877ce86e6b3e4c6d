"""No member of a cluster is nearer to a query than the cluster's bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.search.bounds import SLACK, member_bounds
from sbka_milvus.types import normalise


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    dim=st.integers(2, 64),
    n=st.integers(1, 50),
    spread=st.sampled_from([0.0, 1e-5, 1e-3, 0.1, 1.0, 10.0]),
    near=st.sampled_from([0.0, 1e-4, 0.3, 1.0, 5.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_member_is_nearer_than_the_bound(dim, n, spread, near, seed):
    rng = np.random.default_rng(seed)
    members = normalise(rng.normal(size=dim) + spread * rng.normal(size=(n, dim)))
    centroid = normalise(members.mean(axis=0))
    query = normalise(members[0] + near * rng.normal(size=dim))
    # As the clusters' radii are made: in float32, by the arc cosine.
    radius = np.float32(np.arccos(np.clip(members @ centroid, -1, 1)).max())
    bound = member_bounds(np.float32([centroid @ query]), np.float32([radius]))[0]
    assert (members.astype(np.float64) @ query).max() <= bound + SLACK / 2


@pytest.mark.parametrize(
    ("angle", "radius", "bound"), [(60, 0, 0.5), (60, 30, np.cos(np.pi / 6)), (30, 30, 1), (10, 40, 1), (170, 180, 1)]
)
def test_it_is_the_cosine_of_the_angle_that_is_left(angle, radius, bound):
    found = member_bounds(np.float32([np.cos(np.radians(angle))]), np.float32([np.radians(radius)]))
    assert found[0] == pytest.approx(bound, abs=3e-3)
    assert found[0] >= bound - 1e-7

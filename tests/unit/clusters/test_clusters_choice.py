"""The number of clusters grows with the square root of the gallery."""

from __future__ import annotations

import pytest

from sbka_milvus.clusters import default_n_clusters
from sbka_milvus.errors import InvalidValue


@pytest.mark.parametrize(
    ("n_photos", "expected"), [(1, 1), (2, 2), (3, 2), (16, 5), (600, 31), (10_000, 125), (10_000_000, 3953)]
)
def test_it_is_one_and_a_quarter_roots(n_photos, expected):
    assert default_n_clusters(n_photos) == expected


def test_it_never_falls_and_never_exceeds_the_photos():
    numbers = [default_n_clusters(n) for n in range(1, 400)]
    assert numbers == sorted(numbers)
    assert all(1 <= number <= n for n, number in enumerate(numbers, start=1))


@pytest.mark.parametrize("n_photos", [0, -1])
def test_no_photos_are_refused(n_photos):
    with pytest.raises(InvalidValue, match="without photos"):
        default_n_clusters(n_photos)

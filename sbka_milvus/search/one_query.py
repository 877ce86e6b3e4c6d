"""One query on its way through a version: what is known of its clusters, what was found, what is allowed still."""

from __future__ import annotations

import time

import numpy as np

from sbka_milvus.search.looks import Looks
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.requests import Probed
from sbka_milvus.search.served import NOTHING, merged
from sbka_milvus.types import Candidates, FloatArray, IntArray


class OneQuery:
    """What :class:`~sbka_milvus.search.pointing.Pointing` and :class:`~sbka_milvus.search.probing.Probing` share.

    Args:
        looks: the clusters of the version, as the query sees them.
        k: hits that are wanted, those that are left out by the offset included.
        options: how to search.
        deadline: of :func:`time.monotonic`, after which nothing more is asked for; none: for as long as it takes.
    """

    def __init__(self, looks: Looks, k: int, options: SearchOptions, *, deadline: float | None = None) -> None:
        self._looks = looks
        self._k = k
        self._options = options
        self._deadline = deadline
        self._parts: list[Candidates] = []
        self._probed = np.zeros(len(looks.scores), dtype=np.bool_)
        self._found, self._least = NOTHING, -np.inf
        self._order: IntArray = NOTHING.ids
        self._fused: FloatArray = NOTHING.member_scores

    def _rank(self) -> None:
        """Ranks what was found by now; ``_least`` is the score that a photo must have to be among the hits."""
        looks = self._looks
        self._found = merged(self._parts)
        self._order, self._fused = looks.served.ranked(
            self._found, looks.scores, looks.weight, self._options.per_cluster
        )
        self._least = float(self._fused[self._k - 1]) if len(self._fused) >= self._k else -np.inf

    @property
    def _room(self) -> int:
        """Clusters that may be looked into beside those that were."""
        most = self._options.max_probe
        return len(self._probed) if most is None else max(0, most - int(self._probed.sum()))

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _outcome(self, *, exact: bool, rows: int) -> Probed:
        """What came of the query.

        Args:
            exact: whether nothing that was left out can be a better photo.
            rows: photos that were compared with it.
        """
        looks = self._looks
        clusters: IntArray = np.flatnonzero(self._probed)
        return Probed(
            found=self._found,
            order=self._order,
            fused=self._fused,
            clusters=clusters[np.argsort(-looks.scores[clusters], kind="stable")],
            exact=exact,
            rows=rows,
            codes=looks.n_seen,
            halves=looks.n_half,
        )

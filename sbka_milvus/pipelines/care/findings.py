"""What can be found wrong with a gallery: kinds, what each means, what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Mend = Literal["rebuild", "set aside", "nothing"]
"""What a repair does: builds a new version, sets shards or rows aside for an ingest to embed anew, or nothing."""

MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding.

    Attributes:
        meaning: one sentence.
        remedy: what mends it, one sentence.
        mend: what a repair does of it.
    """

    meaning: str
    remedy: str
    mend: Mend


_REBUILD = "`sbka verify --repair` builds a new version from the shards."
_ASIDE = "`sbka verify --repair` sets it aside; then `sbka ingest` embeds its photos anew."

KINDS: dict[str, Kind] = {
    "file_missing": Kind(
        "A photo is in the shards and its file is gone.",
        "Put it back, or take the photo out of the gallery.",
        "nothing",
    ),
    "file_changed": Kind(
        "A photo's file is another one than was embedded.",
        "`sbka ingest` the same source: it is embedded anew.",
        "nothing",
    ),
    "file_unreadable": Kind(
        "A photo's file cannot be read.", "Check its permissions and its disk; `sbka ingest` says more.", "nothing"
    ),
    "shard_damaged": Kind("A shard cannot be read, or a checksum in it is wrong.", _ASIDE, "set aside"),
    "shard_foreign": Kind("A shard was made by another model than the gallery's.", _ASIDE, "set aside"),
    "vector_unusable": Kind(
        "A vector in a shard has the wrong length, is not finite or is no unit vector.", _ASIDE, "set aside"
    ),
    "not_indexed": Kind("The shards hold photos and no version is served.", _REBUILD, "rebuild"),
    "clusters_wrong": Kind(
        "The version's clusters are incomplete, or their sizes are not those of its rows.", _REBUILD, "rebuild"
    ),
    "matching_unusable": Kind("What the version's vectors were lifted by is missing or damaged.", _REBUILD, "rebuild"),
    "codes_damaged": Kind("The codes by which searches choose photos are not what was written.", _REBUILD, "rebuild"),
    "row_missing": Kind("A photo of the shards is not in Milvus.", _REBUILD, "rebuild"),
    "row_extra": Kind("Milvus holds a photo that no shard holds.", _REBUILD, "rebuild"),
    "row_doubled": Kind("Milvus holds a photo more than once.", _REBUILD, "rebuild"),
    "row_stale": Kind("A photo's vector in Milvus is not that of the shards.", _REBUILD, "rebuild"),
    "row_misplaced": Kind(
        "A row lies in another partition than searches of its cluster look into.", _REBUILD, "rebuild"
    ),
    "row_wrong_cluster": Kind(
        "A row is in a cluster that is not the nearest, or that does not exist.", _REBUILD, "rebuild"
    ),
    "row_misnamed": Kind("A row's URI is not the one that its id stands for.", _REBUILD, "rebuild"),
}
"""By name, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, of one kind.

    Attributes:
        kind: one of :data:`KINDS`.
        count: how many photos, rows or shards.
        examples: some of them, at most five.
    """

    kind: str
    count: int
    examples: tuple[str, ...]

    @property
    def about(self) -> Kind:
        """What its kind means."""
        return KINDS[self.kind]


class Findings:
    """Counts what is found, and keeps a few examples of each kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, subjects: Iterable[str], count: int | None = None) -> None:
        """Adds what was found.

        Args:
            kind: one of :data:`KINDS`.
            subjects: names of what is wrong; more than are kept may be given.
            count: how many there are; by default as many as there are names.
        """
        names = list(subjects)
        amount = len(names) if count is None else count
        if amount:
            self._counts[kind] = self._counts.get(kind, 0) + amount
            kept = self._examples.setdefault(kind, [])
            kept.extend(names[: MOST_EXAMPLES - len(kept)])

    def all(self) -> tuple[Finding, ...]:
        """Everything found, in the order of :data:`KINDS`."""
        return tuple(
            Finding(kind, self._counts[kind], tuple(self._examples[kind])) for kind in KINDS if kind in self._counts
        )

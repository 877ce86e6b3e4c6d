"""Photos of a gallery that are equal, and those that look all but equal to its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import read_records
from sbka_milvus.errors import GalleryError, InvalidValue
from sbka_milvus.images.source import printable
from sbka_milvus.progress import Advance, Progress
from sbka_milvus.types import FloatArray, IntArray

DEFAULT_THRESHOLD = 0.95
_ROUNDING = 1e-6
"""So that equal vectors, whose product is 1 but for its last digits, hang together at a threshold of 1."""
_ROWS = 1024
_COLUMNS = 8192
"""A block of cosines has at most so many: 32 MB."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A photo that has others like it.

    Attributes:
        uri: the photo.
        size: bytes of its file.
        width: pixels of the upright original.
        height: likewise.
        content_hash: of its file: equal for equal files.
        cosine: with the first photo of its group.
    """

    uri: str
    size: int
    width: int
    height: int
    content_hash: str
    cosine: float


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Photos that are alike: each is so to another one of the group, not to every one.

    Attributes:
        kind: ``exact``: all are equal, byte for byte; ``near``: they are not.
        photos: at least two, the one of most pixels first, then that of the largest file.
    """

    kind: Literal["exact", "near"]
    photos: tuple[Duplicate, ...]


@dataclass(frozen=True, slots=True)
class DuplicatesReport:
    """What was found.

    Attributes:
        photos: of the gallery.
        distinct: of them each another one, byte for byte.
        threshold: the least cosine of near duplicates; none where these were not looked for.
        groups: the largest first. A photo is in one group: equal ones that also have near ones are in that of those.
    """

    photos: int
    distinct: int
    threshold: float | None
    groups: tuple[DuplicateGroup, ...]

    @property
    def spare(self) -> int:
        """Photos that could go if one of each group stayed."""
        return sum(len(group.photos) - 1 for group in self.groups)


def find_duplicates(gallery: Gallery, threshold: float | None, progress: Progress) -> DuplicatesReport:
    """Equal photos of a gallery, and near ones by the cosine of their own vectors.

    Every photo is compared with every other one, block by block: exact, in memory of the vectors and 32 MB. Of equal
    photos one is compared.

    Args:
        gallery: with the model that it serves.
        threshold: the least cosine of two near duplicates, in (0, 1]; none: equal photos alone.
        progress: what shows how far it is.

    Raises:
        InvalidValue: The threshold is out of its range.
        GalleryError: The gallery holds no photos, or a shard is damaged.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise InvalidValue(f"The threshold is {threshold:g}.", "It is a cosine above 0 and up to 1, such as 0.95.")
    with progress.stage("Reading photos"):
        records = _newest(gallery)
    first: dict[str, int] = {}
    # A photo's lead: the first of those that are equal to it.
    # Of vectors made elsewhere no content is known: each is taken for another one.
    contents = [digest or f"row {row}" for row, digest in enumerate(records.content_hashes)]
    leads = np.array([first.setdefault(digest, row) for row, digest in enumerate(contents)])
    distinct = np.unique(leads)
    labels = np.searchsorted(distinct, leads)
    if threshold is not None:
        vectors = records.vectors[distinct]
        with progress.stage("Comparing photos", len(distinct), "photos") as advance:
            labels = connected(vectors, threshold, advance)[labels]
    groups = [_group(records, rows) for rows in _of_more_than_one(labels)]
    groups.sort(key=lambda group: (-len(group.photos), group.photos[0].uri))
    return DuplicatesReport(len(records), len(distinct), threshold, tuple(groups))


def connected(vectors: FloatArray, threshold: float, advance: Advance) -> IntArray:
    """Which vectors hang together by cosines of at least a threshold.

    Args:
        vectors: shape (N, D), float32, unit rows.
        threshold: the least cosine of two that hang together.
        advance: is told how many rows are done.

    Returns:
        shape (N,), int64: equal for those that hang together: the row of the first of them.
    """
    labels = np.arange(len(vectors), dtype=np.int64)
    for begin in range(0, len(vectors), _ROWS):
        rows = vectors[begin : begin + _ROWS]
        for start in range(begin, len(vectors), _COLUMNS):
            one, other = np.nonzero(rows @ vectors[start : start + _COLUMNS].T >= threshold - _ROUNDING)
            one, other = one + begin, other + start
            # Only pairs that are not together yet: of many equal ones there would be millions.
            while len(new := np.flatnonzero(labels[one] != labels[other])):
                one, other = one[new], other[new]
                _join(labels, one, other)
        advance(len(rows))
    return labels


def _join(labels: IntArray, one: IntArray, other: IntArray) -> None:
    """Gives each pair's two groups the lower of their labels, as far as one pass comes; repeated until all agree."""
    low = np.minimum(labels[one], labels[other])
    high = np.maximum(labels[one], labels[other])
    target = np.arange(len(labels), dtype=np.int64)
    np.minimum.at(target, high, low)
    # A label may point to one that points on.
    while True:
        further = target[target]
        if np.array_equal(further, target):
            break
        target = further
    labels[:] = target[labels]


def _newest(gallery: Gallery) -> PhotoRecords:
    parts = list(read_records(gallery.shard_folder, gallery.fingerprint))
    if not parts:
        raise GalleryError(
            f"The gallery {printable(gallery.root)} holds no photos.", "Ingest a folder that holds some."
        )
    whole = PhotoRecords.joined(parts)
    newest = {uri: row for row, uri in enumerate(whole.uris)}
    return whole.rows([newest[uri] for uri in sorted(newest)])


def _of_more_than_one(labels: IntArray) -> Iterator[IntArray]:
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(rows) > 1:
            yield rows


def _group(records: PhotoRecords, rows: Sequence[int] | IntArray) -> DuplicateGroup:
    def worth(row: int) -> tuple[int, int, str]:
        return (-int(records.widths[row] * records.heights[row]), -int(records.sizes[row]), records.uris[row])

    ordered = sorted((int(row) for row in rows), key=worth)
    cosines = np.clip(records.vectors[ordered] @ records.vectors[ordered[0]], -1.0, 1.0)
    photos = tuple(
        Duplicate(
            records.uris[row],
            int(records.sizes[row]),
            int(records.widths[row]),
            int(records.heights[row]),
            records.content_hashes[row],
            float(cosine),
        )
        for row, cosine in zip(ordered, cosines, strict=True)
    )
    equal = len({photo.content_hash for photo in photos}) == 1 and photos[0].content_hash != ""
    return DuplicateGroup("exact" if equal else "near", photos)

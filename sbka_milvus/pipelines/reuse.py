"""Photos that are embedded already under another name: moved, copied, or only touched. Their vectors are taken over.

A file is read and hashed before it is decoded where a photo of just its size is known, so that a new collection is
read once. At an address, where reading is what takes the time, the stamp (an ETag, a checksum) must be that of a known
photo too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.contents import find_contents, read_stamps
from sbka_milvus.errors import ImageError
from sbka_milvus.images import PhotoFile, content_hash, is_gone, read_photo
from sbka_milvus.images.uris import is_remote
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.types import IntArray


@dataclass(frozen=True, slots=True)
class Reuse:
    """What can be taken over for some new or changed files.

    Attributes:
        left: files that have to be embedded.
        records: of the others, with vectors that were made before; none where there are none.
        gone: URIs under which moved photos were known, one for each: to be taken out.
        copied: photos whose content is there under another name too.
        touched: photos whose time has changed and whose content has not.
    """

    left: list[PhotoFile]
    records: PhotoRecords | None = None
    gone: tuple[str, ...] = ()
    copied: int = 0
    touched: int = 0

    @property
    def moved(self) -> int:
        """Photos that were known under a name that is there no more."""
        return len(self.gone)


def find_reuse(
    files: Sequence[PhotoFile], gallery: Gallery, options: EmbedOptions, *, without: Collection[str] = ()
) -> Reuse:
    """Tells which files are embedded already by their content. Nothing is written.

    Args:
        files: new or changed.
        gallery: with the model whose vectors are wanted.
        options: threads and the limit of a file's size.
        without: names of shards to be passed over: those that are about to be written.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    likely = _likely(files, read_stamps(gallery.shard_folder, without=without))
    if not likely:
        return Reuse(list(files))
    with ThreadPoolExecutor(options.decode_processes, thread_name_prefix="sbka-hash") as pool:
        found = pool.map(lambda file: _hash_of(file, options.max_pixels), likely)
        hashes = {file.uri: digest for file, digest in zip(likely, found, strict=True) if digest}
    held = find_contents(gallery.shard_folder, gallery.fingerprint, set(hashes.values()), without=without)
    return Reuse(list(files)) if held is None else _Held(held).reuse(files, hashes)


def _likely(files: Sequence[PhotoFile], stamps: IntArray) -> list[PhotoFile]:
    """Those that may be known: of a size that a known photo has; at an address also of its stamp."""
    if not files or not len(stamps):
        return []
    sizes = np.array([file.size for file in files], dtype=np.int64)
    near = [file for file, met in zip(files, np.isin(sizes, stamps[:, 0]), strict=True) if met]
    remote = [file.size for file in near if is_remote(file.uri)]
    exact = {(size, stamp) for size, stamp in stamps[np.isin(stamps[:, 0], remote)].tolist()} if remote else set()
    return [file for file in near if not is_remote(file.uri) or (file.size, file.mtime_ns) in exact]


def _hash_of(file: PhotoFile, max_pixels: int) -> str:
    """Of a file's content; empty where it cannot be read, or is not what it was when it was found."""
    try:
        data = read_photo(file.uri, max_pixels)
    except ImageError:
        return ""  # whoever decodes it says why
    return content_hash(data) if len(data) == file.size else ""


@dataclass(slots=True)
class _Held:
    """Records with the contents that are looked for, and which of their names are spent."""

    records: PhotoRecords
    by_content: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        keys = zip(self.records.content_hashes, self.records.sizes.tolist(), strict=True)
        for row, key in enumerate(keys):
            self.by_content.setdefault(key, []).append(row)

    def reuse(self, files: Sequence[PhotoFile], hashes: dict[str, str]) -> Reuse:
        left: list[PhotoFile] = []
        taken: list[tuple[PhotoFile, int]] = []
        gone: list[str] = []
        copied = touched = 0
        for file in files:
            rows = self.by_content.get((hashes.get(file.uri, ""), file.size))
            if rows is None:
                left.append(file)
                continue
            own = next((row for row in rows if self.records.uris[row] == file.uri), None)
            former = None if own is not None else self._gone_among(rows)
            row = own if own is not None else former if former is not None else rows[0]
            if own is not None:
                touched += 1
            elif former is not None:
                gone.append(self.records.uris[former])
            else:
                copied += 1
            taken.append((self._with_metadata(file, former), row))
        return Reuse(left, self._records(taken), tuple(gone), copied, touched)

    def _with_metadata(self, file: PhotoFile, former: int | None) -> PhotoFile:
        """What was said of a photo moves with it, unless its new source says something."""
        if former is None or file.metadata is not None or not self.records.metadata:
            return file
        return replace(file, metadata=self.records.metadata[former])

    def _gone_among(self, rows: Sequence[int]) -> int | None:
        """The first of the names that are there no more, which nobody else has moved from."""
        for row in rows:
            uri = self.records.uris[row]
            if uri not in self.spent and is_gone(uri):
                self.spent.add(uri)
                return row
        return None

    def _records(self, taken: Sequence[tuple[PhotoFile, int]]) -> PhotoRecords | None:
        if not taken:
            return None
        files = [file for file, _ in taken]
        return replace(
            self.records.rows([row for _, row in taken]),
            uris=tuple(file.uri for file in files),
            mtimes_ns=np.array([file.mtime_ns for file in files], dtype=np.int64),
            metadata=tuple(file.metadata for file in files),
        )

"""Embedding in pieces: a plan lists the photos in chunk files, and each chunk becomes one shard of a fixed name.

Chunks go to workers as file names, never as lists of photos. To do a chunk twice writes the same shard twice.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sbka_milvus.embeddings import Gallery, QuarantinedFile
from sbka_milvus.embeddings.shards import read_records, shard_name, write_shard
from sbka_milvus.errors import GalleryError
from sbka_milvus.files import replacing
from sbka_milvus.images import PhotoFile
from sbka_milvus.pipelines.decode_ahead import OnFile
from sbka_milvus.pipelines.embed import require_own_encoder
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.encode_files import encode_files
from sbka_milvus.pipelines.reuse import find_reuse
from sbka_milvus.pipelines.shard_buffer import ShardBuffer
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.types import Metadata


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """What became of a chunk.

    Attributes:
        embedded: photos in its shard.
        quarantined: files that could not be used.
        seconds: wall time.
        moved: photos that were known under another name, which is there no more; they, and the next two, are in the
            shard :func:`known_shard_name`.
        copied: photos whose content is known under another name too.
        touched: photos whose time has changed and whose content has not.
    """

    embedded: int
    quarantined: tuple[QuarantinedFile, ...]
    seconds: float
    moved: int = 0
    copied: int = 0
    touched: int = 0

    @property
    def known(self) -> int:
        """Photos in the other shard, which were not embedded again."""
        return self.moved + self.copied + self.touched


def chunk_file(folder: Path, number: int) -> Path:
    """The file of a chunk.

    >>> chunk_file(Path("chunks"), 12).name
    '000012.jsonl'
    """
    return folder / f"{number:06d}.jsonl"


def write_chunks(folder: Path, files: Iterable[PhotoFile], size: int, first: int = 0) -> list[int]:
    """Lists photos in chunk files of at most ``size``, numbered from ``first``.

    Returns:
        The number of photos in each chunk.

    Raises:
        OutputError: A file cannot be written.
    """
    counts: list[int] = []
    source = iter(files)
    while chunk := list(itertools.islice(source, size)):
        with replacing(chunk_file(folder, first + len(counts))) as stream:
            for file in chunk:
                row = [file.uri, file.size, file.mtime_ns, *([] if file.metadata is None else [dict(file.metadata)])]
                stream.write((json.dumps(row) + "\n").encode())
        counts.append(len(chunk))
    return counts


def read_chunk(path: Path) -> list[PhotoFile]:
    """The photos of a chunk file.

    Raises:
        GalleryError: It is missing or damaged.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [_photo(*row) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise GalleryError(
            f"The list of photos {path} is damaged or missing: {error}.", "Start the job anew."
        ) from error


def _photo(uri: str, size: int, mtime_ns: int, metadata: Metadata | None = None) -> PhotoFile:
    return PhotoFile(str(uri), Path(uri), int(size), int(mtime_ns), metadata)


def known_shard_name(name: str) -> str:
    """The shard of a chunk's photos that were embedded before, beside that of those that were not.

    >>> known_shard_name("photos-000007-0123abcd.parquet") == known_shard_name("photos-000007-0123abcd.parquet")
    True
    """
    return shard_name(int(name.split("-")[1]), f"{name}/known")


def embed_chunk(
    files: list[PhotoFile],
    gallery: Gallery,
    encoder: Encoder,
    options: EmbedOptions,
    name: str,
    progress: Progress,
    on_file: OnFile | None = None,
) -> ChunkReport:
    """Embeds photos into the shard of a name, all at once or not at all; those that are known by their content into
    another one, without embedding them again.

    Args:
        files: the photos.
        gallery: where the shard goes.
        encoder: the gallery's own.
        options: sizes and threads.
        name: of the shard: :func:`~sbka_milvus.embeddings.shards.shard_name`.
        progress: what shows how far it is; where it raises, nothing is written.
        on_file: is told of each file before it is read, and of none before the shard is written.

    Raises:
        EncoderMismatch: The encoder is not the gallery's.
        OutputError: The disk is full or the folder cannot be written.
    """
    start = time.perf_counter()
    require_own_encoder(gallery, encoder)
    problems: dict[str, str] = {}
    beside = known_shard_name(name)
    # Its own shards may be there already, from a worker that was killed: what it does must not depend on that.
    reuse = find_reuse(files, gallery, options, without=(name, beside))
    writer = ShardBuffer(gallery, name=name)
    with progress.stage("Embedding photos", len(files), "photos") as advance:
        advance(len(files) - len(reuse.left))
        encode_files(reuse.left, encoder, options, writer.add_photos, problems, advance, on_file)
    if reuse.records is not None:
        write_shard(gallery.shard_folder, reuse.records, gallery.fingerprint, beside, removed=reuse.gone)
    writer.flush()
    quarantined = tuple(QuarantinedFile(uri, why) for uri, why in sorted(problems.items()))
    seconds = time.perf_counter() - start
    return ChunkReport(writer.written, quarantined, seconds, reuse.moved, reuse.copied, reuse.touched)


def embedded_files(gallery: Gallery) -> Iterator[PhotoFile]:
    """The files that a gallery's shards were made from, each once, as they were then.

    Raises:
        EncoderMismatch: A shard was made by another encoder.
        GalleryError: A shard is damaged.
    """
    newest: dict[str, PhotoFile] = {}
    for records in read_records(gallery.shard_folder, gallery.fingerprint):
        metadata = records.metadata or (None,) * len(records)
        stamps = zip(records.uris, records.sizes.tolist(), records.mtimes_ns.tolist(), metadata, strict=True)
        newest.update((uri, _photo(uri, size, mtime_ns, said)) for uri, size, mtime_ns, said in stamps)
    yield from newest.values()

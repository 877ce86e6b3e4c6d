"""Verify: files against shards, shards against themselves, shards against Milvus; and repair."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards
from sbka_milvus.embeddings.versions import VersionRecord, read_version_record
from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.errors import BundleError, MatchingError
from sbka_milvus.pipelines.care.check_files import check_files
from sbka_milvus.pipelines.care.check_index import check_index
from sbka_milvus.pipelines.care.check_shards import ShardSurvey, Stored, check_shards
from sbka_milvus.pipelines.care.findings import Finding, Findings
from sbka_milvus.pipelines.care.repair import repair
from sbka_milvus.pipelines.codes import are_whole
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.matching import read_matching
from sbka_milvus.pipelines.version_states import served_version
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import FloatArray, VersionInfo


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to look at.

    Attributes:
        files: whether the photos' files are looked at.
        by_content: whether they are read, and their hashes compared.
    """

    files: bool = False
    by_content: bool = False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verifying found.

    Attributes:
        gallery: its folder.
        version: that is served; none where none is.
        shards: files.
        rows: usable rows in them.
        photos: distinct photos of these rows.
        superseded: rows that a later row of the same photo replaces, which is no fault.
        milvus_rows: of the served version.
        files_checked: photos whose files were looked at; none where they were not to be.
        files_unchecked: photos at addresses or with vectors from elsewhere; none likewise.
        behind: whether the served version was built from other shards than there are; none where that is unknown.
        findings: what is wrong.
        repaired: what a repair did, one sentence each.
        seconds: wall time.
    """

    gallery: str
    version: int | None
    shards: int
    rows: int
    photos: int
    superseded: int
    milvus_rows: int
    files_checked: int | None
    files_unchecked: int | None
    behind: bool | None
    findings: tuple[Finding, ...]
    seconds: float
    repaired: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_gallery(
    gallery: Gallery,
    store: GalleryStore,
    options: VerifyOptions,
    progress: Progress,
    is_built: Callable[[VersionRecord], bool] | None = None,
) -> VerifyReport:
    """Looks for what is wrong with a gallery; changes nothing.

    Vectors are read shard by shard and page by page, so a large gallery needs no more memory than a small one, but
    for 50 bytes a photo, and some 200 more where files are looked at.

    Args:
        gallery: of the model that is served.
        store: where it is indexed.
        options: what to look at.
        progress: what shows how far it is.
        is_built: whether a version was built from the shards as they are now.

    Raises:
        StoreUnavailable: Milvus cannot be reached.
    """
    return _look(gallery, store, options, progress, is_built)[0]


def repair_gallery(
    gallery: Gallery,
    store: GalleryStore,
    options: VerifyOptions,
    index_options: IndexOptions,
    progress: Progress,
    is_built: Callable[[VersionRecord], bool] | None = None,
) -> VerifyReport:
    """Verifies, mends what can be mended from the shards, and verifies again.

    Args:
        gallery: of the model that is served.
        store: where it is indexed.
        options: what to look at.
        index_options: how a new version is built.
        progress: what shows how far it is.
        is_built: whether a version was built from the shards as they are now.

    Returns:
        What is wrong after the repair, and what the repair did.

    Raises:
        GalleryBusy: Another process indexes the gallery.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused.
    """
    start = time.perf_counter()
    with index_lock(gallery):
        report, shards, served = _look(gallery, store, options, progress, is_built)
        if not (report.findings or report.behind):
            return report
        done = repair(gallery, store, report.findings, shards, served, index_options, progress)
        if not done:
            return report
        after, _, _ = _look(gallery, store, options, progress, is_built)
    return replace(after, repaired=tuple(done), seconds=time.perf_counter() - start)


def _look(
    gallery: Gallery,
    store: GalleryStore,
    options: VerifyOptions,
    progress: Progress,
    is_built: Callable[[VersionRecord], bool] | None,
) -> tuple[VerifyReport, ShardSurvey, VersionInfo | None]:
    start = time.perf_counter()
    findings = Findings()
    files = None
    if options.files or options.by_content:
        files = check_files(gallery, findings, progress, by_content=options.by_content)
    served = served_version(gallery, store)
    stored = _stored(gallery, served, findings)
    shards = check_shards(gallery, _dim(gallery), stored or _as_they_are, findings, progress)
    rows = 0
    if served is None:
        findings.add("not_indexed", [gallery.name] if list_shards(gallery.shard_folder) else [])
    elif stored is not None:
        findings.add("codes_damaged", [] if are_whole(gallery, served) else [f"version {served.version}"])
        rows = check_index(gallery, store, served, shards, findings, progress)
    record = read_version_record(gallery.version_folder, served.token) if served else None
    report = VerifyReport(
        gallery=str(gallery.root),
        version=served.version if served else None,
        shards=shards.shards,
        rows=shards.rows,
        photos=len(shards.expected),
        superseded=shards.expected.superseded,
        milvus_rows=rows,
        files_checked=files.checked if files else None,
        files_unchecked=files.unchecked if files else None,
        behind=None if record is None or is_built is None else not is_built(record),
        findings=findings.all(),
        seconds=time.perf_counter() - start,
    )
    return report, shards, served


def _as_they_are(vectors: FloatArray) -> FloatArray:
    return vectors


def _dim(gallery: Gallery) -> int:
    try:
        return read_manifest(gallery.model_folder).dim
    except BundleError:
        return 0


def _stored(gallery: Gallery, served: VersionInfo | None, findings: Findings) -> Stored | None:
    """What the version keeps of photos' vectors; none where that cannot be told."""
    if served is None or not served.matching:
        return _as_they_are
    from sbka_milvus.rankers import ServedMatching

    try:
        matching = read_matching(gallery, served)
    except MatchingError as error:
        findings.add("matching_unusable", [error.problem])
        return None
    assert isinstance(matching, ServedMatching)
    lifted = matching.lifted
    return lambda vectors: lifted.photos(vectors).rows

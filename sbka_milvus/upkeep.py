"""Taking care of gallery folders: the parts of :mod:`sbka_milvus.pipelines.care`, built from settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.attached import AttachedRecord
from sbka_milvus.embeddings.vector_files import open_vector_file
from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.embeddings.workspace import gallery_name
from sbka_milvus.errors import GalleryError, StoreError
from sbka_milvus.factory import following, index_options, milvus_tls, open_encoder, open_store, prepare_gallery
from sbka_milvus.pipelines.index import IndexOptions, IndexReport, build_index, is_built_from, require_current
from sbka_milvus.pipelines.index_form import MatchingForm
from sbka_milvus.pipelines.versions import follow_served
from sbka_milvus.places import EMBEDDED, milvus_address, milvus_place, remember_place, without_password
from sbka_milvus.progress import Progress
from sbka_milvus.settings import Settings
from sbka_milvus.store import Tls

if TYPE_CHECKING:
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.pipelines.care.attach import AttachOptions, AttachReport
    from sbka_milvus.pipelines.care.export import ExportOptions, ExportReport
    from sbka_milvus.pipelines.care.imports import ImportOptions, ImportReport
    from sbka_milvus.pipelines.care.status import GalleryStatus
    from sbka_milvus.pipelines.care.verify import VerifyOptions, VerifyReport
    from sbka_milvus.store import MilvusGalleryStore
    from sbka_milvus.store.foreign import ForeignRows


def gallery_status(root: Path, settings: Settings) -> GalleryStatus:
    """How a gallery stands; also where its Milvus cannot be reached, and without loading its model.

    Raises:
        GalleryError: The folder is no gallery, or is damaged.
    """
    from sbka_milvus.pipelines.care import status

    gallery = Gallery.open(root)
    with _store_if_reachable(gallery, settings) as (store, problem):
        return status.gallery_status(gallery, milvus_place(settings), store, problem, partial(_is_built, gallery))


def verify_folder(
    root: Path, settings: Settings, options: VerifyOptions, progress: Progress, *, repair: bool = False
) -> VerifyReport:
    """Looks for what is wrong with a gallery, and mends what its shards can mend where that is wanted.

    Raises:
        GalleryError: The folder is no gallery, or another process indexes it.
        StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
    """
    from sbka_milvus.pipelines.care.verify import repair_gallery, verify_gallery

    with gallery_and_store(root, settings) as (gallery, store):
        is_built = partial(_is_built, gallery)
        if repair:
            return repair_gallery(gallery, store, options, index_options(settings), progress, is_built)
        return verify_gallery(gallery, store, options, progress, is_built)


def export_folder(
    root: Path, target: Path, settings: Settings, options: ExportOptions, progress: Progress
) -> ExportReport:
    """Writes a gallery's photos into one file; without their clusters where Milvus cannot be reached.

    Raises:
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.care.export.export_gallery`.
    """
    from sbka_milvus.pipelines.care.export import ClusterOf, export_gallery
    from sbka_milvus.pipelines.version_states import served_version

    gallery, clusters = Gallery.open(root), None
    with _store_if_reachable(gallery, settings) as (store, problem):
        if store is not None:
            gallery = follow_served(gallery, store)
            served = served_version(gallery, store)
            clusters = None if served is None else ClusterOf.of(store, served)
    if clusters is None:
        progress.say(f"The photos' clusters are left out: {problem or 'no version is served.'}")
    return export_gallery(gallery, target, clusters, options, progress)


def import_into(
    paths: Sequence[Path],
    root: Path,
    settings: Settings,
    options: ImportOptions,
    progress: Progress,
    *,
    model: Path | None = None,
    name: str | None = None,
) -> tuple[ImportReport, IndexReport]:
    """Takes vectors made elsewhere into a gallery folder, which is made where there is none, and indexes them.

    Args:
        paths: files of vectors.
        root: the gallery's folder.
        settings: name the Milvus, and the device where photos are checked.
        options: see there.
        progress: what shows the stages.
        model: bundle whose encoder made the vectors; by default the gallery's own.
        name: of a new gallery in Milvus; by default from the folder's name.

    Raises:
        GalleryError: A new gallery needs a model, or another process indexes this one.
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.care.imports.import_vectors`.
    """
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.pipelines.care.imports import import_vectors

    for path in paths:
        open_vector_file(path, options.columns)  # a mistyped name is refused before anything is made
    if model is None and not Gallery.exists(root):
        raise GalleryError(
            f"{root} is no gallery yet, and a new one needs the model that made the vectors.", "Name it with --model."
        )
    gallery = prepare_gallery(root, model, name, settings, progress)
    with following(gallery, settings) as (gallery, store):
        require_current(gallery, store)
        encoder = _encoder_for(options.check, gallery, settings, progress)
        dim = read_manifest(gallery.model_folder).dim
        report = import_vectors(paths, gallery, dim, encoder, options, progress)
        return report, build_index(gallery, store, index_options(settings), progress)


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection that somebody else made.

    Attributes:
        name: its name.
        place: the Milvus that holds it, an address or a directory; none: that of the settings, or of a running
            ``sbka up``.
        vector: field of its embeddings; none where it has but one.
        key: its primary key; none: found by itself.
        uri: field that names the photos; none: found by the usual names; empty: none does.
        where: a filter of Milvus; empty: all rows.
    """

    name: str
    place: str | None = None
    vector: str | None = None
    key: str | None = None
    uri: str | None = None
    where: str = ""


def attach_to(
    wanted: Collection,
    root: Path,
    settings: Settings,
    options: AttachOptions,
    progress: Progress,
    *,
    model: Path | None = None,
    name: str | None = None,
) -> tuple[AttachReport, IndexReport]:
    """Makes a gallery beside a collection, or brings one up to it, and indexes it. The collection is only read.

    Args:
        wanted: the collection.
        root: the gallery's folder.
        settings: name the gallery's Milvus; the token and database of both.
        options: see there.
        progress: what shows the stages.
        model: bundle whose encoder made the vectors; by default the gallery's own.
        name: of a new gallery in Milvus; by default from the folder's name.

    Raises:
        GalleryError: No Milvus is named, a new gallery has no model, or its name is the collection's.
        SbkaError: Any of those of :func:`~sbka_milvus.pipelines.care.attach.attach_rows`.
    """
    from sbka_milvus.encoders.manifest import read_manifest
    from sbka_milvus.pipelines.care.attach import attach_rows, require_dim
    from sbka_milvus.store.foreign import ForeignCollection

    place = wanted.place or milvus_address(settings, None)
    if model is None and not Gallery.exists(root):
        raise GalleryError(
            f"{root} is no gallery yet, and a new one needs the model that made the vectors.", "Name it with --model."
        )
    alias = Gallery.open(root).name if Gallery.exists(root) else name or gallery_name(root)
    if alias == wanted.name:
        raise GalleryError(
            f"The gallery would be called {alias!r} in Milvus, as the collection is.", "Give it another --name."
        )
    milvus = settings.milvus
    # Certificates are those of the Milvus of the settings, which the collection may not lie in.
    tls = milvus_tls(milvus) if place == milvus.uri else Tls()
    with ForeignCollection(
        place,
        wanted.name,
        token=milvus.token.get_secret_value(),
        db_name=milvus.db_name,
        timeout_s=milvus.timeout_s,
        tls=tls,
    ) as collection:
        fields = collection.fields(vector=wanted.vector, key=wanted.key, uri=wanted.uri)
        if model is not None:
            require_dim(wanted.name, fields.vector, fields.dim, read_manifest(model).dim)
        gallery = prepare_gallery(root, model, name, settings, progress)
        require_dim(wanted.name, fields.vector, fields.dim, read_manifest(gallery.model_folder).dim)
        with following(gallery, settings) as (gallery, store):
            require_current(gallery, store)
            encoder = _encoder_for(options.check, gallery, settings, progress)
            where = without_password(place)
            record = AttachedRecord(wanted.name, where, fields.key, fields.vector, fields.uri, wanted.where)

            def read(*, vectors: bool) -> Iterator[ForeignRows]:
                return collection.rows(fields, wanted.where, vectors=vectors)

            report = attach_rows(read, record, gallery, encoder, options, progress)
            return report, build_index(gallery, store, index_options(settings), progress)


def _encoder_for(check: int, gallery: Gallery, settings: Settings, progress: Progress) -> BundleEncoder | None:
    """The gallery's encoder, where photos are to be checked by it."""
    if not check:
        return None
    with progress.stage("Loading the model"):
        return open_encoder(gallery.model_folder, settings)


def _is_built(gallery: Gallery, record: VersionRecord) -> bool:
    """Whether a version was built from the shards as they are, whatever options it was built with."""
    with_options = IndexOptions(int(record.options.get("n_clusters", 0)), seed=int(record.options.get("seed", 0)))
    for matching in get_args(MatchingForm):
        with suppress(GalleryError):  # the model knows no sketches, so it was not built so
            if is_built_from(gallery, record, replace(with_options, matching=matching)):
                return True
    return False


@contextmanager
def gallery_and_store(root: Path, settings: Settings) -> Iterator[tuple[Gallery, MilvusGalleryStore]]:
    """A gallery with the model of what is served, and its store, which may not know it yet.

    Raises:
        GalleryError: The folder is no gallery.
        StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
    """
    with following(Gallery.open(root), settings) as (gallery, store):
        remember_place(gallery, settings)
        yield gallery, store


@contextmanager
def _store_if_reachable(gallery: Gallery, settings: Settings) -> Iterator[tuple[MilvusGalleryStore | None, str]]:
    """The store, or why there is none. An embedded Milvus that does not exist yet is not made."""
    if milvus_place(settings) == EMBEDDED and not gallery.milvus_folder.exists():
        yield None, "Nothing was indexed in the gallery's own Milvus yet."
        return
    try:
        store = open_store(gallery, settings)
    except (StoreError, GalleryError) as error:
        yield None, str(error)
        return
    try:
        yield store, ""
    finally:
        store.close()

"""Index: shards -> form -> clusters -> a new version in Milvus -> verified -> served."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.shards import list_shards, read_embeddings
from sbka_milvus.embeddings.versions import VersionRecord, read_version_record, utc_now, write_version_record
from sbka_milvus.errors import GalleryError, OutputError, StoreError
from sbka_milvus.pipelines.codes import ensure_codes, write_codes
from sbka_milvus.pipelines.copies import ensure_copies, find_copies, write_copies
from sbka_milvus.pipelines.fits import refer_to_served, write_fit
from sbka_milvus.pipelines.index_form import FormedGallery, FormOptions, MatchingForm, form_key, form_name
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.joining import ClusteredGallery, Wish, cluster_gallery
from sbka_milvus.pipelines.matching import is_matched, matching_digest, write_matching
from sbka_milvus.pipelines.metadata import indexed_metadata
from sbka_milvus.pipelines.origin import DEFAULT_MAX_DRIFT, ClusterOrigin
from sbka_milvus.pipelines.version_states import has_model, list_versions, served_version
from sbka_milvus.pipelines.versions import drop_unfinished, drop_version, serve_version, settle
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import Embeddings, GalleryRows, VersionInfo

_INSERT_BATCH = 2000


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """How to index.

    Attributes:
        n_clusters: wanted clusters; 0: chosen from the gallery's size.
        keep_versions: versions to keep, the served one included.
        seed: of the clustering.
        place: where the store is, for the gallery's ``index.json``; none to leave it as it is there.
        matching: the form; see :mod:`~sbka_milvus.pipelines.index_form`.
        anew: whether clusters are fitted anew whatever there is.
        asked: whether what is asked for here holds for later ingests that ask for nothing else.
        max_drift: cluster drift above which the report says so.
    """

    n_clusters: int = 0
    keep_versions: int = 2
    seed: int = 0
    place: str | None = None
    matching: MatchingForm = "auto"
    anew: bool = False
    asked: bool = False
    max_drift: float = DEFAULT_MAX_DRIFT

    @property
    def form(self) -> FormOptions:
        """What decides how photos are indexed."""
        return FormOptions(self.matching, self.n_clusters, self.seed)

    def wish(self, gallery: Gallery) -> Wish:
        """How clusters are wanted.

        Raises:
            GalleryError: The form cannot be had.
            BundleError: The model's statistics cannot be read.
        """
        return Wish(self.form, _digest([self.n_clusters, self.seed, *form_key(gallery, self.matching)]), self.anew)


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What indexing did.

    Attributes:
        version: the version that is served now.
        photos: photos in it.
        clusters: clusters in it.
        rebuilt: false where the served version already held exactly these photos.
        seconds: wall time.
        matching: the form of its vectors, in a few words.
        distinct: photos in it of which each is another one, byte for byte.
        clustering: how its clusters came about, as :class:`~sbka_milvus.pipelines.origin.ClusterOrigin` has it; empty
            where nothing is known of that.
        drifted: one line that says that the clusters have drifted, with the figure and the remedy; empty where they
            have not.
    """

    version: int
    photos: int
    clusters: int
    rebuilt: bool
    seconds: float
    matching: str = "fused"
    distinct: int = 0
    clustering: Mapping[str, Any] = field(default_factory=dict)
    drifted: str = ""


def build_index(gallery: Gallery, store: GalleryStore, options: IndexOptions, progress: Progress) -> IndexReport:
    """Brings the served version of a gallery up to its shards; searches go on undisturbed until the switch.

    Raises:
        GalleryError: The gallery holds no photos, a shard is damaged, another process indexes the gallery, or it was
            switched to another model meanwhile.
        EncoderMismatch: A shard was made by another encoder.
        BundleError: The model's statistics are damaged.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused, or does not hold what was sent.
    """
    start = time.perf_counter()
    with index_lock(gallery):
        served = settle(gallery, store, options.place)
        require_current(gallery, store)
        if served is not None and served.fingerprint == gallery.fingerprint:
            record = read_version_record(gallery.version_folder, served.token)
            options = held_options(options, record)
            # The count is compared too: the store may have lost photos.
            count = store.count(served)
            same = record is not None and (record.source, record.photos) == (source_state(gallery, options), count)
            if same and is_matched(gallery, served) and not options.anew:
                ensure_copies(gallery, served)
                ensure_codes(gallery, store, served, progress)
                refer_to_served(gallery, store, served, datetime.now(UTC))
                return _report(gallery, store, served, options, False, start)
        info = build_version(gallery, store, options, progress)
        serve_version(gallery, store, info, options.keep_versions, place=options.place)
        refer_to_served(gallery, store, info, datetime.now(UTC))
        return _report(gallery, store, info, options, True, start)


def build_version(gallery: Gallery, store: GalleryStore, options: IndexOptions, progress: Progress) -> VersionInfo:
    """Makes a version of the shards of the gallery's model, whole and verified, that is not served yet.

    Its photos join the clusters of an earlier version where one was made as is wanted now, unless ``options.anew``.

    One that was made of the same shards and options and still waits is taken as it is, so that work which is
    done twice costs nothing. What killed runs left half-built is dropped first.

    Raises:
        GalleryError: There are no photos, a shard is damaged, or another process indexes the gallery.
        EncoderMismatch: A shard was made by another encoder.
        BundleError: The model's statistics are damaged.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused, or does not hold what was sent.
    """
    with index_lock(gallery):
        drop_unfinished(gallery, store)
        source = source_state(gallery, options)
        states = list_versions(gallery, store)
        for state in reversed(states):
            same = _is_same_and_new(state.record, gallery, source) and (not options.anew or _is_asked(state.record))
            if not state.served and same and is_matched(gallery, state.info):
                return state.info
        embeddings = _read_photos(gallery)
        copies = find_copies(gallery, embeddings.uris)
        wish = options.wish(gallery)
        clustered = cluster_gallery(gallery, store, embeddings, wish, states, progress)
        formed = clustered.formed
        digest = matching_digest(formed.content) if formed.content else ""
        fields, metadata = indexed_metadata(gallery, embeddings)
        table = formed.clustering.table
        info = store.create_version(gallery.name, gallery.fingerprint, table, fields, matching=digest)
        try:
            if formed.content:
                # Before the record: a version that has one is taken for whole.
                write_matching(gallery, info, formed.content)
            write_copies(gallery, info, copies)
            write_codes(gallery, info, formed.embeddings, formed.clustering)
            origin = clustered.origin_in(info, embeddings, wish)
            if origin.how == "fitted":
                write_fit(gallery, info.token, clustered.reference)
            record = _record(info, formed, source, options, origin)
            write_version_record(gallery.version_folder, replace(record, distinct=record.photos - copies.spare))
            rows = GalleryRows(formed.embeddings, formed.clustering.assignments, tuple(metadata))
            _insert(store, info, rows, progress)
            _verify(store, info, len(embeddings))
        except BaseException:
            # Also after Ctrl-C: a part of a version only takes room.
            with suppress(StoreError, OutputError):
                drop_version(gallery, store, info)
            raise
        return info


def propose_clusters(
    gallery: Gallery, store: GalleryStore, options: IndexOptions, progress: Progress
) -> ClusteredGallery:
    """The clusters that a version would have that was built now; nothing is written.

    Raises:
        GalleryError: There are no photos, a shard is damaged, or the form cannot be had.
        EncoderMismatch: A shard was made by another encoder.
        BundleError: The model's statistics are damaged.
        StoreError: Milvus refused.
    """
    states = list_versions(gallery, store)
    return cluster_gallery(gallery, store, _read_photos(gallery), options.wish(gallery), states, progress)


def require_current(gallery: Gallery, store: GalleryStore) -> None:
    """Refuses to serve photos embedded with a model that the gallery was switched away from meanwhile.

    Raises:
        GalleryError: Another model of the gallery is served.
    """
    served = served_version(gallery, store)
    if served is not None and served.fingerprint != gallery.fingerprint and has_model(gallery, served.fingerprint):
        raise GalleryError(
            f"The gallery {gallery.root} is served with the model {served.fingerprint}, and these photos were embedded "
            f"with {gallery.fingerprint}.",
            "It was switched meanwhile: ingest the same photos again, and its own model embeds them.",
        )


def _read_photos(gallery: Gallery) -> Embeddings:
    embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    if embeddings is None:
        raise no_photos(gallery)
    return embeddings


def no_photos(gallery: Gallery) -> GalleryError:
    """Says that nothing was embedded yet."""
    return GalleryError(f"The gallery {gallery.root} holds no photos.", "Ingest a folder that holds some.")


def is_built_from(gallery: Gallery, record: VersionRecord, options: IndexOptions) -> bool:
    """Whether a version was built from the shards and options as they are now.

    Raises:
        GalleryError: *linear* is wanted, and the model knows no sketches.
        BundleError: The model's statistics cannot be read.
    """
    return record.source == source_state(gallery, held_options(options, record))


def _is_same_and_new(record: VersionRecord | None, gallery: Gallery, source: str) -> bool:
    if record is None or record.promoted is not None or record.rolled_back is not None:
        return False
    return (record.source, record.fingerprint) == (source, gallery.fingerprint)


def held_options(options: IndexOptions, record: VersionRecord | None) -> IndexOptions:
    """What `sbka cluster` was asked for goes on to hold where nothing else is asked for."""
    told = record.options if record is not None else {}
    if options.anew or not told.get("asked"):
        return options
    held = replace(options, n_clusters=told["n_clusters"], seed=told["seed"], matching=told["matching"], asked=True)
    plain = IndexOptions()
    names = ("n_clusters", "seed", "matching")
    agree = all(getattr(options, name) in (getattr(plain, name), getattr(held, name)) for name in names)
    return held if agree else options


def _is_asked(record: VersionRecord | None) -> bool:
    """Whether `sbka cluster` made a version, and was killed before it was served."""
    origin = ClusterOrigin.of(record)
    return record is not None and origin is not None and origin.how == "fitted" and bool(record.options.get("asked"))


def _report(
    gallery: Gallery, store: GalleryStore, info: VersionInfo, options: IndexOptions, rebuilt: bool, start: float
) -> IndexReport:
    record = read_version_record(gallery.version_folder, info.token)
    origin = ClusterOrigin.of(record)
    # Where there is a record it was compared with what the store holds before the version was served.
    count = store.count(info) if record is None else record.photos
    return IndexReport(
        version=info.version,
        photos=count,
        clusters=info.n_clusters,
        rebuilt=rebuilt,
        seconds=time.perf_counter() - start,
        matching=form_name(record),
        distinct=count if record is None or record.distinct is None else record.distinct,
        clustering={} if origin is None else origin.to_dict(),
        drifted="" if origin is None else origin.complaint(options.max_drift, gallery),
    )


def _record(
    info: VersionInfo, formed: FormedGallery, source: str, options: IndexOptions, origin: ClusterOrigin
) -> VersionRecord:
    return VersionRecord(
        version=info.version,
        token=info.token,
        fingerprint=info.fingerprint,
        photos=len(formed.embeddings),
        clusters=info.n_clusters,
        source=source,
        created=utc_now(),
        options={"n_clusters": options.n_clusters, "seed": options.seed} | _asked(options),
        matching=formed.described,
        clustering=origin.to_dict(),
    )


def _asked(options: IndexOptions) -> dict[str, Any]:
    return {"matching": options.matching, "asked": True} if options.asked else {}


def _insert(store: GalleryStore, info: VersionInfo, rows: GalleryRows, progress: Progress) -> None:
    # In the order of clusters, so that a batch touches few partitions.
    order = np.argsort(rows.cluster_ids, kind="stable")
    with progress.stage("Indexing", len(order), "photos") as advance:
        for begin in range(0, len(order), _INSERT_BATCH):
            part = order[begin : begin + _INSERT_BATCH]
            embeddings = Embeddings(tuple(rows.embeddings.uris[row] for row in part), rows.embeddings.vectors[part])
            metadata = tuple(rows.metadata[row] for row in part)
            store.insert(info, GalleryRows(embeddings, rows.cluster_ids[part], metadata))
            advance(len(part))


def _verify(store: GalleryStore, info: VersionInfo, expected: int) -> None:
    found = store.count(info)
    if found != expected:
        raise StoreError(
            f"Milvus holds {found} of the {expected} photos sent to version {info.version} of {info.gallery!r}; "
            "that version was dropped, and the one served before was left as it was.",
            "Run the same command again.",
        )


def source_state(gallery: Gallery, options: IndexOptions) -> str:
    """Names the shards and options that a version is built from; shard names never come twice.

    Raises:
        GalleryError: The form cannot be had.
        BundleError: The model's statistics cannot be read.
    """
    names = [path.name for path in list_shards(gallery.shard_folder)]
    return _digest([names, options.n_clusters, options.seed, *form_key(gallery, options.matching)])


def _digest(state: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()

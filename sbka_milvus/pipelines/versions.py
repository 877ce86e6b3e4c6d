"""Serving a version of a gallery, and the way back.

Milvus decides what is served; the files of the gallery follow. Whatever kills a process here, the next call of
:func:`settle` writes down what the killed one could not.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.index_record import IndexRecord, read_index_record, write_index_record
from sbka_milvus.embeddings.versions import (
    VersionRecord,
    read_version_record,
    remove_version_record,
    utc_now,
    write_version_record,
)
from sbka_milvus.errors import GalleryBusy, GalleryError, OutputError
from sbka_milvus.pipelines.fits import sweep_fits
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.version_states import (
    VersionState,
    has_model,
    incomplete,
    list_versions,
    require_complete,
    require_model,
    served_version,
)
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import VersionInfo

__all__ = [
    "VersionState",
    "drop_unfinished",
    "drop_version",
    "follow_served",
    "index_lock",
    "list_versions",
    "record_gate",
    "rollback",
    "serve_version",
    "served_version",
    "settle",
]


def serve_version(
    gallery: Gallery, store: GalleryStore, info: VersionInfo, keep_versions: int = 2, *, place: str | None = None
) -> Gallery:
    """Serves a version from now on, and drops the oldest ones that are too many. Safe to call again.

    The version served before is the last to be dropped. A candidate of another model, on which nothing was decided
    yet, is not counted and stays.

    Args:
        gallery: whose version; of whichever model.
        store: where it is.
        info: the version.
        keep_versions: versions to keep, the served one included.
        place: where the store is, for the gallery's ``index.json``; by default as it is there.

    Returns:
        The gallery with the model of this version.

    Raises:
        GalleryError: The version is incomplete, its model is not there, or another process indexes the gallery.
        CollectionMissing: There is no such version.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused.
    """
    with index_lock(gallery):
        previous = settle(gallery, store)
        record = require_complete(gallery, store, info)
        require_model(gallery, info)
        if info != previous:
            record = _switch(gallery, store, info, record)
        followed = _follow(gallery, record, place)
        _drop_old(gallery, store, previous, keep_versions)
        return followed


def rollback(gallery: Gallery, store: GalleryStore) -> VersionInfo:
    """Serves the version again that served last before this one.

    The version that is left stays, but no later call comes back to it: :func:`serve_version` does, by name.

    Returns:
        The version that is served now.

    Raises:
        GalleryError: There is none to go back to, or another process indexes the gallery.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused.
    """
    with index_lock(gallery):
        served = settle(gallery, store)
        earlier = [
            (state.record.promoted, state.info, state.record)
            for state in list_versions(gallery, store)
            if not state.served and state.complete and state.record and state.record.promoted
            if state.record.rolled_back is None
        ]
        if served is None or not earlier:
            raise GalleryError(
                f"The gallery {gallery.root} has no earlier version to go back to.",
                "`sbka gallery versions` lists what there is; SBKA_INGEST__KEEP_VERSIONS says how many are kept.",
            )
        _, target, record = max(earlier, key=lambda entry: entry[0])
        require_complete(gallery, store, target)
        require_model(gallery, target)
        left = read_version_record(gallery.version_folder, served.token)
        if left is not None:
            write_version_record(gallery.version_folder, replace(left, rolled_back=utc_now()))
        _follow(gallery, _switch(gallery, store, target, record), None)
        return target


def record_gate(gallery: Gallery, info: VersionInfo, decision: Mapping[str, Any]) -> None:
    """Keeps what a gate decided of a version; one that did not pass is dropped when room is needed.

    Args:
        gallery: whose version.
        info: the version.
        decision: with ``passed``, as :meth:`~sbka_milvus.pipelines.gate.GateDecision.to_dict` makes it.

    Raises:
        GalleryError: Nothing is known of the version.
        OutputError: The gallery's folder cannot be written.
    """
    with index_lock(gallery):
        record = read_version_record(gallery.version_folder, info.token)
        if record is None:
            raise incomplete(gallery, info, "nothing is known of how it was built")
        write_version_record(gallery.version_folder, replace(record, gate=dict(decision)))


def follow_served(gallery: Gallery, store: GalleryStore) -> Gallery:
    """The gallery with the model of the version that is served; ``gallery.json`` is corrected where it says otherwise.

    A switch that was killed halfway is made good so. Where the model is not in the gallery, nothing is changed.

    Raises:
        StoreError: Milvus refused.
    """
    served = served_version(gallery, store)
    if served is None or served.fingerprint == gallery.fingerprint or not has_model(gallery, served.fingerprint):
        return gallery
    # Whoever holds the lock is about to write it; a folder that cannot be written can be searched all the same.
    with suppress(GalleryBusy, OutputError), index_lock(gallery, timeout_s=0):
        settle(gallery, store)
    return gallery.for_model(served.fingerprint)


def settle(gallery: Gallery, store: GalleryStore, place: str | None = None) -> VersionInfo | None:
    """Writes down what a killed process could not: that a version came into service, its model, its number.

    To be called under :func:`index_lock`.

    Args:
        gallery: of whichever model.
        store: decides what is served.
        place: where the store is; by default as it is recorded.

    Returns:
        The version that is served.
    """
    served = served_version(gallery, store)
    if served is None:
        return None
    record = read_version_record(gallery.version_folder, served.token) or _adopt(gallery, store, served)
    if record is not None:
        if record.promoted is None or record.rolled_back is not None:
            serves = replace(record, promoted=record.promoted or utc_now(), rolled_back=None)
            write_version_record(gallery.version_folder, serves)
        if served.fingerprint == Gallery.open(gallery.root).fingerprint or has_model(gallery, served.fingerprint):
            _follow(gallery, record, place)
    return served


def drop_unfinished(gallery: Gallery, store: GalleryStore) -> None:
    """Drops what killed processes left half-built. To be called under :func:`index_lock`."""
    store.drop_leftovers(gallery.name)
    for state in list_versions(gallery, store):
        if not state.served and not state.complete:
            drop_version(gallery, store, state.info)


def drop_version(gallery: Gallery, store: GalleryStore, info: VersionInfo) -> None:
    """Drops a version, its record, what lies beside that, and its fit if no other version has it.

    To be called under :func:`index_lock`.

    Raises:
        StoreError: It is served, or Milvus refused.
        OutputError: The gallery's folder cannot be written.
    """
    # In this order: what is left by a kill in between is a version without a record, which the next run drops.
    remove_version_record(gallery.version_folder, info.token)
    store.drop_version(info)
    sweep_fits(gallery)


def _switch(gallery: Gallery, store: GalleryStore, info: VersionInfo, record: VersionRecord) -> VersionRecord:
    store.promote(info)
    record = replace(record, promoted=utc_now(), rolled_back=None)
    write_version_record(gallery.version_folder, record)
    return record


def _follow(gallery: Gallery, record: VersionRecord, place: str | None) -> Gallery:
    """Brings ``gallery.json`` and ``index.json`` in line with the version that is served."""
    followed = gallery.for_model(record.fingerprint)
    if Gallery.open(gallery.root) != followed:
        followed.save()
    if place is None:
        known = read_index_record(gallery.index_file)
        place = known.place if known else ""
    write_index_record(
        gallery.index_file, IndexRecord(record.version, record.source, record.photos, record.token, place)
    )
    return followed


def _adopt(gallery: Gallery, store: GalleryStore, served: VersionInfo) -> VersionRecord | None:
    """The record of a version that a release without records built and verified."""
    known = read_index_record(gallery.index_file)
    if known is None or known.token or known.version != served.version or known.photos != store.count(served):
        return None
    now = utc_now()
    record = VersionRecord(
        served.version, served.token, served.fingerprint, known.photos, served.n_clusters, known.source, now, {}
    )
    write_version_record(gallery.version_folder, replace(record, promoted=now))
    return record


def _drop_old(gallery: Gallery, store: GalleryStore, previous: VersionInfo | None, keep: int) -> None:
    states = list_versions(gallery, store)
    served = {state.info.fingerprint for state in states if state.served}
    others = [state for state in states if not state.served]
    others.sort(key=lambda state: (state.info == previous, *_worth(state.record), state.info.version))
    candidates = [state for state in others if _is_candidate(state) and state.info.fingerprint not in served]
    counted = [state for state in others if state not in candidates[-1:]]
    for state in counted[: max(0, len(counted) - (keep - 1))]:
        drop_version(gallery, store, state.info)


def _worth(record: VersionRecord | None) -> tuple[bool, str]:
    """In the order in which versions are dropped: those that never served or were left, then the longest ago."""
    if record is None or record.promoted is None or record.rolled_back is not None:
        return (False, "")
    return (True, record.promoted)


def _is_candidate(state: VersionState) -> bool:
    return state.record is not None and state.record.waits

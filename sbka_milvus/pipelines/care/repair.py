"""Mends a gallery from its shards, and takes out of them what cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.rewriting import keep_rows, set_aside
from sbka_milvus.embeddings.versions import VersionRecord, read_version_record
from sbka_milvus.pipelines.care.check_shards import ShardSurvey
from sbka_milvus.pipelines.care.findings import Finding
from sbka_milvus.pipelines.index import IndexOptions, build_version, held_options
from sbka_milvus.pipelines.version_states import served_version
from sbka_milvus.pipelines.versions import drop_version, serve_version
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import VersionInfo


def repair(
    gallery: Gallery,
    store: GalleryStore,
    findings: Sequence[Finding],
    shards: ShardSurvey,
    served: VersionInfo | None,
    options: IndexOptions,
    progress: Progress,
) -> list[str]:
    """Mends what was found. To be called under the gallery's index lock.

    Shards of which nothing can be used are moved to ``set-aside/`` in the gallery; those of which a part can are
    written anew with that part, and the old file is moved there too. Then a new version is built from the shards,
    served, and the damaged one is dropped: a roll-back must not come to it.

    Args:
        gallery: whose.
        store: where it is indexed.
        findings: what is wrong.
        shards: what was found in them.
        served: the version that is served.
        options: how to build the new one, but for what `sbka cluster` was asked for.
        progress: what shows how far it is.

    Returns:
        What was done, one sentence each; empty where nothing could be.

    Raises:
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused; what was served before still is.
    """
    done = _set_aside(gallery, shards)
    broken = any(finding.about.mend == "rebuild" for finding in findings)
    if not broken and not done and findings:
        return done  # nothing that a repair can do anything about
    if len(shards.expected) == 0:
        return [*done, "No usable photo is left, so no version was built: ingest again."] if done else done
    record = read_version_record(gallery.version_folder, served.token) if served else None
    # Clusters are made anew: photos must not join what may be damaged.
    info = build_version(gallery, store, _as_before(options, record), progress)
    serve_version(gallery, store, info, options.keep_versions, place=options.place)
    done.append(f"Version {info.version} was built from the shards and is served.")
    if (
        served is not None
        and broken
        and served in store.versions(gallery.name)
        and served_version(gallery, store) != served
    ):
        drop_version(gallery, store, served)
        done.append(f"The damaged version {served.version} was dropped.")
    return done


def _set_aside(gallery: Gallery, shards: ShardSurvey) -> list[str]:
    done = []
    for path, kept in shards.partly:
        # First the good rows: a repair that is cut short in between leaves them twice, which is no fault.
        fresh = keep_rows(path, kept)
        set_aside(gallery.root, path)
        done.append(f"{(~kept).sum()} rows of {path.name} were left out of {fresh.name if fresh else 'the shards'}.")
    for path in shards.damaged:
        done.append(f"The shard {path.name} was moved to {set_aside(gallery.root, path)}.")
    return done


def _as_before(options: IndexOptions, record: VersionRecord | None) -> IndexOptions:
    """With the clusters that were asked for, made anew."""
    held = held_options(options, record)
    known = dict(record.options) if record else {}
    return replace(held, n_clusters=held.n_clusters or int(known.get("n_clusters", 0)), anew=True)

"""Recluster: the served version's photos in clusters that are made anew, behind the alias; and a look at those."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sbka_milvus.clusters import ClusterStatistics
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.errors import GalleryError
from sbka_milvus.pipelines.index import IndexOptions, build_index, propose_clusters, source_state
from sbka_milvus.pipelines.index_form import form_name
from sbka_milvus.pipelines.origin import ClusterOrigin
from sbka_milvus.pipelines.version_states import served_version
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import VersionInfo


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The clusters of one version.

    Attributes:
        version: its number; none where it was not built.
        matching: the form of its vectors, in a few words.
        statistics: balance and radii.
        clustering: how the clusters came about; empty where nothing is known of that.
        drifted: one line that says that they have drifted, with the figure and the remedy; empty where they have not.
    """

    version: int | None
    matching: str
    statistics: ClusterStatistics
    clustering: Mapping[str, Any]
    drifted: str = ""


@dataclass(frozen=True, slots=True)
class ReclusterReport:
    """What clustering anew did.

    Attributes:
        before: the clusters that were served; none where no version was, or a killed run has switched already.
        after: those that are served now, or that would be.
        built: whether a version was built and is served now; false for a trial.
        seconds: wall time.
    """

    before: ClusterView | None
    after: ClusterView
    built: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def view_clusters(gallery: Gallery, store: GalleryStore, max_drift: float) -> ClusterView:
    """The clusters that are served.

    Args:
        gallery: of the model that serves.
        store: where its versions are.
        max_drift: cluster drift above which the view says so.

    Raises:
        GalleryError: No version is served.
        StoreError: Milvus refused.
    """
    served = served_version(gallery, store)
    if served is None:
        raise GalleryError(
            f"The gallery {gallery.root} serves no version yet.", f"Run `sbka cluster -g {gallery.root}` to make one."
        )
    return _view(gallery, store, served, max_drift)


def recluster(
    gallery: Gallery,
    store: GalleryStore,
    options: IndexOptions,
    progress: Progress,
    *,
    trial: bool = False,
    since: datetime | None = None,
) -> ReclusterReport:
    """Clusters a gallery anew and serves that; what was served is searched until the switch, and kept.

    What is asked for here holds for later ingests that ask for nothing else.

    Args:
        gallery: of the model that serves.
        store: where its versions are.
        options: how to index; clusters are fitted anew whatever they say of that.
        progress: what shows how far it is.
        trial: whether only to look at what would come of it: nothing is built, written or switched.
        since: a version that was made so after this time, and serves, is what is wanted: a killed run came so far.

    Raises:
        GalleryError: The gallery holds no photos, a shard is damaged, the form cannot be had, or another process
            indexes the gallery.
        EncoderMismatch: A shard was made by another encoder.
        BundleError: The model's statistics are damaged.
        OutputError: The gallery's folder cannot be written.
        StoreError: Milvus refused; the version that was served before is still served.
    """
    start = time.perf_counter()
    options = replace(options, anew=True, asked=True)
    served = served_version(gallery, store)
    if served is not None and since is not None and _is_made(gallery, served, options, since):
        after = _view(gallery, store, served, options.max_drift)
        return ReclusterReport(None, after, True, time.perf_counter() - start)
    before = None if served is None else _view(gallery, store, served, options.max_drift)
    if trial:
        formed = propose_clusters(gallery, store, options, progress).formed
        form = str(formed.described.get("name", formed.described["form"]))
        after = ClusterView(None, form, ClusterStatistics.of(formed.clustering.table), {})
    else:
        build_index(gallery, store, options, progress)
        after = view_clusters(gallery, store, options.max_drift)
    return ReclusterReport(before, after, not trial, time.perf_counter() - start)


def _view(gallery: Gallery, store: GalleryStore, info: VersionInfo, max_drift: float) -> ClusterView:
    record = read_version_record(gallery.version_folder, info.token)
    origin = ClusterOrigin.of(record)
    return ClusterView(
        version=info.version,
        matching=form_name(record),
        statistics=ClusterStatistics.of(store.clusters(info)),
        clustering={} if origin is None else origin.to_dict(),
        drifted="" if origin is None else origin.complaint(max_drift, gallery),
    )


def _is_made(gallery: Gallery, served: VersionInfo, options: IndexOptions, since: datetime) -> bool:
    record = read_version_record(gallery.version_folder, served.token)
    origin = ClusterOrigin.of(record)
    if record is None or origin is None or origin.how != "fitted" or not record.options.get("asked"):
        return False
    return datetime.fromisoformat(record.created) >= since and record.source == source_state(gallery, options)

"""The unit of a clustering: fitted, built beside what is served, switched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.factory import index_options
from sbka_milvus.pipelines.index_lock import index_lock
from sbka_milvus.pipelines.recluster import recluster
from sbka_milvus.pipelines.versions import follow_served
from sbka_milvus.progress import Progress
from schemas.jobs import ClusterJob
from workers.unit import Unit


def cluster(unit: Unit, progress: Progress) -> dict[str, Any]:
    """Clusters a gallery anew. A run that was killed after its switch is not done twice."""
    job, settings = unit.job, unit.context.settings
    wish: ClusterJob = job.request
    gallery = Gallery.open(Path(wish.gallery))
    with index_lock(gallery), unit.context.store(gallery) as store:
        gallery = follow_served(Gallery.open(gallery.root), store)
        options = index_options(
            settings,
            n_clusters=wish.n_clusters or settings.ingest.n_clusters,
            matching=wish.matching,
            seed=wish.seed,
        )
        options = replace(options, place=unit.context.place)
        return recluster(gallery, store, options, progress, since=job.record.created).to_dict()

"""In which form a gallery's photos are indexed: as they are (*fused*), or lifted for a linear ranker (*linear*)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sbka_milvus.clusters import default_n_clusters, fit_clusters
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.encoders.statistics import STATISTICS_FILE, ModelStatistics, read_statistics
from sbka_milvus.errors import BundleError, GalleryError
from sbka_milvus.progress import Progress
from sbka_milvus.types import Clustering, Embeddings

MatchingForm = Literal["auto", "fused", "linear"]

LEAST_PHOTOS = 32
"""Photos below which ``auto`` does not lift: too few to tell directions and clusters from chance."""
MOST_CHOSEN = 5000
"""Photos up to which K and the weight are chosen from them, which takes a minute on one core."""
_STILL_LIKE = 1.25
"""By how much a gallery may have grown or shrunk for an earlier choice to hold."""


@dataclass(frozen=True, slots=True)
class FormOptions:
    """What is wanted.

    Attributes:
        matching: ``auto``: linear where the model knows sketches and the gallery holds at least 32 photos.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        seed: of the clusterings.
    """

    matching: MatchingForm = "auto"
    n_clusters: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FormedGallery:
    """Photos as they go into the store.

    Attributes:
        embeddings: with the photos' own vectors, or lifted ones.
        clustering: of those vectors.
        content: of the file by which they were lifted; empty where they were not.
        described: for the version's record: ``form``, ``why``, and for *linear* its figures.
    """

    embeddings: Embeddings
    clustering: Clustering
    content: bytes
    described: Mapping[str, Any]


def form_key(gallery: Gallery, matching: MatchingForm) -> list[str]:
    """What decides about the form beside the photos: names what a version was built from.

    Empty where nothing but *fused* can come out, as in releases that knew no other form.

    Raises:
        GalleryError: *linear* is wanted, and the model knows no sketches.
        BundleError: The model's statistics cannot be read.
    """
    path = gallery.model_folder / STATISTICS_FILE
    if matching == "linear" and not path.is_file():
        raise _knows_none(gallery)
    if matching == "fused" or not path.is_file():
        return []
    try:
        return [matching, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()]
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error


def form_of(gallery: Gallery, photos: int, matching: MatchingForm) -> Literal["fused", "linear"]:
    """The form that so many photos get.

    Raises:
        GalleryError: *linear* is wanted, and the model knows no sketches or there is but one photo.
        BundleError: The model's statistics are damaged.
    """
    return "fused" if _statistics(gallery, photos, matching)[0] is None else "linear"


def form_gallery(
    gallery: Gallery,
    embeddings: Embeddings,
    options: FormOptions,
    earlier: Sequence[VersionRecord],
    progress: Progress,
) -> FormedGallery:
    """Decides about the form and brings photos into it.

    Args:
        gallery: whose model made the vectors.
        embeddings: all its photos.
        options: what is wanted.
        earlier: records of its versions, oldest first; what was chosen for one of them need not be chosen again.
        progress: what shows how far it is.

    Raises:
        GalleryError: *linear* is wanted, and the model knows no sketches or there is but one photo.
        BundleError: The model's statistics are damaged.
    """
    statistics, why = _statistics(gallery, len(embeddings), options.matching)
    if statistics is not None:
        return _linear(gallery, embeddings, statistics, options, earlier, progress)
    with progress.stage("Clustering"):
        clustering = _clusters(embeddings, options.n_clusters, options.seed)
    return FormedGallery(embeddings, clustering, b"", {"form": "fused", "why": why})


def form_name(record: VersionRecord | None) -> str:
    """The form of a version in a few words, for people."""
    described = record.matching if record is not None else None
    return "fused" if described is None else str(described.get("name", described["form"]))


def _statistics(gallery: Gallery, photos: int, wanted: MatchingForm) -> tuple[ModelStatistics | None, str]:
    """What the model knows of sketches, where that is to be used; else why not."""
    if wanted == "fused":
        return None, "It was asked for."
    found = read_statistics(gallery.model_folder) if (gallery.model_folder / STATISTICS_FILE).is_file() else None
    if wanted == "linear":
        if found is None:
            raise _knows_none(gallery)
        if photos < 2:
            raise GalleryError(
                f"The gallery {gallery.root} cannot be matched linearly: it holds one photo.",
                "Ingest more, or leave SBKA_INGEST__MATCHING at auto.",
            )
        return found, ""
    if found is None:
        return None, "The model knows no sketches."
    if photos < LEAST_PHOTOS:
        return None, f"There are fewer than {LEAST_PHOTOS} photos."
    return found, ""


def _knows_none(gallery: Gallery) -> GalleryError:
    return GalleryError(
        f"The gallery {gallery.root} cannot be matched linearly: its model knows no sketches.",
        "Train a model with `sbka train`, or leave SBKA_INGEST__MATCHING at auto.",
    )


def _linear(
    gallery: Gallery,
    embeddings: Embeddings,
    statistics: ModelStatistics,
    options: FormOptions,
    earlier: Sequence[VersionRecord],
    progress: Progress,
) -> FormedGallery:
    from sbka_milvus.rankers import LiftedOptions, PhotoParts, ServedMatching, fit_lifted, pack_matching

    chosen = _choose(gallery, embeddings, options, earlier, progress)
    with progress.stage("Aligning photos and sketches"):
        fit = LiftedOptions(int(chosen["n_clusters"]), float(chosen["weight"]), seed=options.seed)
        lifted = fit_lifted(embeddings.vectors, statistics.sketches, fit)
        photos = lifted.photos(embeddings.vectors)
    with progress.stage("Clustering"):
        formed = Embeddings(embeddings.uris, photos.rows)
        clustering = _clusters(formed, fit.n_clusters, options.seed)
    content = pack_matching(ServedMatching(lifted, PhotoParts.of(embeddings.ids, photos)))
    described = {
        "form": "linear",
        "name": lifted.name,
        "directions": lifted.alignment.dims,
        "level_weight": lifted.level_weight,
        "sketches": len(lifted.sketches),
    }
    return FormedGallery(formed, clustering, content, described | chosen)


def _choose(
    gallery: Gallery,
    embeddings: Embeddings,
    options: FormOptions,
    earlier: Sequence[VersionRecord],
    progress: Progress,
) -> dict[str, Any]:
    """K and the weight, why these, and the figures that led to them."""
    from sbka_milvus.rankers import choose_matching
    from sbka_milvus.rankers.fused import DEFAULT_WEIGHT

    count = len(embeddings)
    if options.n_clusters:
        return {"n_clusters": options.n_clusters, "weight": DEFAULT_WEIGHT, "why": "The clusters were asked for."}
    if not LEAST_PHOTOS <= count <= MOST_CHOSEN:
        why = f"K comes from the number of photos, which is not between {LEAST_PHOTOS} and {MOST_CHOSEN}."
        return {"n_clusters": default_n_clusters(count), "weight": DEFAULT_WEIGHT, "why": why}
    for record in reversed(earlier):
        known = dict(record.matching or {})
        still = count / _STILL_LIKE <= known.get("chosen_for", 0) <= count * _STILL_LIKE
        if still and record.fingerprint == gallery.fingerprint and record.options.get("seed") == options.seed:
            return {name: known[name] for name in ("n_clusters", "weight", "why", "chosen_for", "choice")}
    with progress.stage("Choosing how to match"):
        choice = choose_matching(embeddings.vectors, seed=options.seed)
    verdict = "Clusters say nothing here." if choice.plain else "With these, photos find their kin best."
    return {
        "n_clusters": choice.n_clusters,
        "weight": choice.weight,
        "why": verdict,
        "chosen_for": count,
        "choice": choice.to_dict(),
    }


def _clusters(embeddings: Embeddings, n_clusters: int, seed: int) -> Clustering:
    wanted = n_clusters or default_n_clusters(len(embeddings))
    return fit_clusters(embeddings, min(wanted, len(embeddings)), seed=seed)

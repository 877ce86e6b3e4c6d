"""Photos join the clusters of an earlier version of their gallery where there is one that was made as is wanted now.

The photos of the fit keep their clusters, since the centroids, and what lifts vectors in the form *linear*, stay as
they are. Only where no earlier version will do are clusters fitted anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sbka_milvus.clusters import join_clusters
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.versions import VersionRecord
from sbka_milvus.errors import MatchingError
from sbka_milvus.pipelines.fits import fit_reference, read_fit
from sbka_milvus.pipelines.index_form import FormedGallery, FormOptions, form_gallery, form_of
from sbka_milvus.pipelines.matching import read_matching
from sbka_milvus.pipelines.origin import MOST_GROWN, ClusterOrigin
from sbka_milvus.pipelines.reference import Reference
from sbka_milvus.pipelines.version_states import VersionState
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.types import Embeddings, VersionInfo

if TYPE_CHECKING:
    from sbka_milvus.rankers import LiftedMatching

LEAST_FITTED = 32
"""Photos below which a fit tells nothing of clusters: it is made anew as soon as the gallery has doubled."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How clusters are wanted.

    Attributes:
        form: the form, the number of clusters and the seed.
        digest: names these, and what the model knows of sketches: versions of one digest can be joined.
        anew: whether clusters are to be fitted whatever there is.
    """

    form: FormOptions
    digest: str
    anew: bool = False


@dataclass(frozen=True, slots=True)
class ClusteredGallery:
    """A gallery in its form and in its clusters.

    Attributes:
        formed: photos as they go into the store.
        reference: what the clusters were fitted to.
        origin: of the clusters of the version that was joined; none where they were fitted just now.
        base: number of that version.
    """

    formed: FormedGallery
    reference: Reference
    origin: ClusterOrigin | None = None
    base: int = 0

    def origin_in(self, info: VersionInfo, embeddings: Embeddings, wish: Wish) -> ClusterOrigin:
        """How the clusters of the version that is made of this come about.

        Args:
            info: the version.
            embeddings: its photos, with their own vectors.
            wish: what was wanted.
        """
        if self.origin is None:
            return ClusterOrigin.fitted_now(info.token, info.version, wish.digest, self.reference)
        return self.origin.joined_by(self.base, self.reference, embeddings)


def cluster_gallery(
    gallery: Gallery,
    store: GalleryStore,
    embeddings: Embeddings,
    wish: Wish,
    states: Sequence[VersionState],
    progress: Progress,
) -> ClusteredGallery:
    """Puts a gallery's photos into clusters: those of an earlier version where they will do, else new ones.

    Args:
        gallery: whose model made the vectors.
        store: where its versions are.
        embeddings: all its photos.
        wish: how clusters are wanted.
        states: its versions, oldest first.
        progress: what shows how far it is.

    Raises:
        GalleryError: The form cannot be had.
        BundleError: The model's statistics are damaged.
        StoreError: Milvus refused.
    """
    form = form_of(gallery, len(embeddings), wish.form.matching)
    # The served one first: then the newest.
    for state in sorted(states[::-1], key=lambda state: not state.served) if not wish.anew else ():
        found = _join(gallery, store, embeddings, wish, form, state, progress)
        if found is not None:
            return found
    earlier = [state.record for state in states if state.record is not None]
    formed = form_gallery(gallery, embeddings, wish.form, earlier, progress)
    lifted = formed.embeddings is not embeddings
    now = datetime.now(UTC)
    return ClusteredGallery(formed, fit_reference(gallery, embeddings, formed.clustering, lifted=lifted, time=now))


def _join(
    gallery: Gallery,
    store: GalleryStore,
    embeddings: Embeddings,
    wish: Wish,
    form: str,
    state: VersionState,
    progress: Progress,
) -> ClusteredGallery | None:
    record, origin = state.record, ClusterOrigin.of(state.record)
    if record is None or origin is None or not _will_do(gallery, state, record, origin, wish, form):
        return None
    doubled = len(embeddings) >= MOST_GROWN * origin.fitted
    reference = read_fit(gallery, origin.fit)
    if (origin.fitted < LEAST_FITTED and doubled) or reference is None or len(reference.ids) != origin.fitted:
        return None
    try:
        lifted = _lifting(gallery, state.info)
    except MatchingError:
        return None
    with progress.stage("Joining clusters"):
        formed = _joined(store, embeddings, record, state.info, lifted)
    return ClusteredGallery(formed, reference, origin, state.info.version)


def _will_do(
    gallery: Gallery, state: VersionState, record: VersionRecord, origin: ClusterOrigin, wish: Wish, form: str
) -> bool:
    """Whether a version is whole, was not judged unfit, and was made as is wanted now."""
    judged = record.rolled_back is not None or not (record.gate is None or record.gate["passed"])
    made = (record.fingerprint, origin.wanted, (record.matching or {}).get("form"))
    return state.complete and (state.served or not judged) and made == (gallery.fingerprint, wish.digest, form)


def _joined(
    store: GalleryStore,
    embeddings: Embeddings,
    record: VersionRecord,
    info: VersionInfo,
    lifted: LiftedMatching | None,
) -> FormedGallery:
    centroids, content = store.clusters(info).centroids, b""
    indexed = embeddings
    if lifted is not None:
        from sbka_milvus.rankers import PhotoParts, ServedMatching, pack_matching

        photos = lifted.photos(embeddings.vectors)
        content = pack_matching(ServedMatching(lifted, PhotoParts.of(embeddings.ids, photos)))
        indexed = Embeddings(embeddings.uris, photos.rows)
    return FormedGallery(indexed, join_clusters(indexed, centroids), content, dict(record.matching or {}))


def _lifting(gallery: Gallery, info: VersionInfo) -> LiftedMatching | None:
    from sbka_milvus.rankers import ServedMatching

    found = read_matching(gallery, info)
    return found.lifted if isinstance(found, ServedMatching) else None

"""What a user opens: ``SketchSearch``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.attached import AttachedKeysReader
from sbka_milvus.errors import CollectionMissing, EncoderMismatch, GalleryError
from sbka_milvus.factory import open_encoder, open_store
from sbka_milvus.images import load_sketch
from sbka_milvus.patience import patiently
from sbka_milvus.pipelines.confidence import ConfidenceJudge
from sbka_milvus.pipelines.copies import copies_finder
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.pipelines.version_states import has_model
from sbka_milvus.pipelines.versions import follow_served
from sbka_milvus.places import missing_index, remember_place, require_index
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.settings import Settings, load_settings
from sbka_milvus.types import SearchResult

if TYPE_CHECKING:
    from PIL import Image

    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.feedback import FeedbackPair
    from sbka_milvus.store import MilvusGalleryStore

_MOST_SWITCHES = 4
"""Switches to another model that one query follows; it hardly ever meets more than one."""


class SketchSearch:
    """Finds photos by sketches in one gallery, in whichever version of it is served.

    Opened from a folder, it follows the gallery to another model: the first query that meets the new version loads
    that model, which takes seconds, and answers with it. Each answer is of one version and of that version's encoder.

    >>> search = SketchSearch.open("gallery/")  # doctest: +SKIP
    >>> for hit in search("cat.png", k=10):  # doctest: +SKIP
    ...     print(hit.rank, hit.score, hit.uri)
    """

    def __init__(
        self,
        gallery: str,
        encoder: BundleEncoder,
        store: MilvusGalleryStore,
        settings: Settings,
        folder: Gallery | None = None,
    ) -> None:
        """From parts that are open already; users call :meth:`open`.

        Args:
            gallery: its name in the store.
            encoder: what encodes sketches.
            store: where the gallery is.
            settings: for searching, and for loading models.
            folder: where the gallery's models are, to follow it to another one.

        Raises:
            EncoderMismatch: The encoder is not the gallery's, and the gallery's own is not in the folder.
            MatchingError: What the gallery is matched by is not in the folder, or there is no folder.
            CollectionMissing: The gallery is not in the store.
        """
        self.gallery = gallery
        self.encoder = encoder
        self._former: BundleEncoder | None = None
        self._judge: tuple[BundleEncoder, ConfidenceJudge | None] | None = None
        self._loading = Lock()
        self._store = store
        self._settings = settings
        self._folder = folder
        self._keys = None if folder is None else AttachedKeysReader(folder.root)
        matching_of, copies_of = (None, None) if folder is None else (matching_finder(folder), copies_finder(folder))
        self._searcher = GallerySearcher(store, gallery, matching_of=matching_of, copies_of=copies_of)
        self._follow()
        self._judge_of(self.encoder)
        patiently(lambda: self._searcher.matching)  # what cannot be searched is told now and not at the first sketch

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        uri: str | None = None,
        gallery: str | None = None,
        model: str | Path | None = None,
        settings: Settings | None = None,
    ) -> SketchSearch:
        """Opens a gallery for searching.

        Args:
            path: a gallery folder.
            uri: address of a Milvus server; by default ``SBKA_MILVUS__URI``, else that of a running ``sbka up``, else
                the Milvus in the folder.
            gallery: the gallery's name in Milvus; by default the folder's. Needed without ``path``.
            model: a model bundle; by default the one in the folder. Needed without ``path``. The gallery is not
                followed from it to another model.
            settings: by default those of the environment.

        Raises:
            GalleryError: The folder is no gallery, has no index in this Milvus, or a part is not named.
            MatchingError: What the gallery is matched by is missing or damaged, or no folder is named.
            EncoderMismatch: The model is not the one that embedded the gallery.
            BundleError: The model cannot be loaded, or its statistics are damaged.
            CollectionMissing: Milvus has no gallery of the name given.
            StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
        """
        settings = settings or load_settings()
        if uri is not None:
            settings = settings.model_copy(update={"milvus": settings.milvus.model_copy(update={"uri": uri})})
        folder = None if path is None else Gallery.open(Path(path))
        name = gallery or (folder.name if folder else None)
        if name is None or (folder is None and model is None):
            raise GalleryError(
                "Without a gallery folder, the gallery's name and the model must be given.",
                'For example SketchSearch.open(uri="http://milvus:19530", gallery="products", model="model/").',
            )
        if folder is not None:
            require_index(folder, settings)
        store = open_store(folder, settings)
        try:
            if folder is not None and name == folder.name:
                folder = _at_what_is_served(folder, store, settings)
            if folder is None or model is not None:
                return cls(name, open_encoder(Path(model or ""), settings), store, settings)
            return cls(name, open_encoder(folder.model_folder, settings), store, settings, folder)
        except BaseException:
            store.close()
            raise

    def __call__(
        self,
        sketch: Any,
        k: int | None = None,
        *,
        n_probe: int | None = None,
        cluster_weight: float | None = None,
        where: str | None = None,
    ) -> Any:
        """The photos most like a sketch.

        Args:
            sketch: a path, the bytes of a file, a PIL image, an array or strokes; or a list of such.
            k: hits for each sketch; by default ``SBKA_SEARCH__K``.
            n_probe: clusters to look into; by default ``SBKA_SEARCH__N_PROBE``.
            cluster_weight: weight of the cluster's score. By default the version's own, where it is of the form
                *linear*; else ``SBKA_SEARCH__CLUSTER_WEIGHT``.
            where: a filter over the columns that the photos came with, such as ``year > 2020``: see docs/ingest.md.

        Returns:
            A :class:`~sbka_milvus.types.SearchResult`, which is a sequence of hits, best first; for a list of
            sketches a list of them. Its ``confidence`` says how likely the gallery holds what the sketch shows.

        Raises:
            ImageError: A sketch cannot be read, or has no ink on it.
            InvalidValue: A number is out of range, or a weight is asked for that is not the version's own.
            FilterError: The filter cannot be read, or names a column that there is not.
            MatchingError: What the version is matched by is missing or damaged.
            EncoderMismatch: The gallery was switched to a model that is not in its folder.
            StoreUnavailable: Milvus could not be reached for some seconds.
        """
        many = is_many(sketch)
        sketches = list(sketch) if many else [sketch]
        options = self._options(n_probe, cluster_weight, where)
        results = self._search(lambda size: [self._normalised(one, size) for one in sketches], k, options)
        return results if many else results[0]

    def prepare(self) -> None:
        """Has the encoder find now how it encodes single sketches fastest; else it does so after some searches.

        It takes seconds. Worth while in a program that goes on answering.
        """
        self.encoder.prepare()

    def normalise(self, sketch: Any) -> Image.Image:
        """A sketch as the encoder sees it: RGB, dark ink on white, square.

        Raises:
            ImageError: The sketch cannot be read, or has no ink on it.
        """
        return self._normalised(sketch, self.encoder.input_size)

    def search_normalised(
        self,
        sketches: Sequence[Image.Image],
        k: int | None = None,
        *,
        n_probe: int | None = None,
        cluster_weight: float | None = None,
        where: str | None = None,
    ) -> list[SearchResult]:
        """As calling, for sketches that :meth:`normalise` made."""
        options = self._options(n_probe, cluster_weight, where)
        return self._search(lambda size: [self._resized(one, size) for one in sketches], k, options)

    def _options(self, n_probe: int | None, cluster_weight: float | None, where: str | None) -> SearchOptions:
        defaults = self._settings.search
        return SearchOptions(
            n_probe=defaults.n_probe if n_probe is None else n_probe,
            cluster_weight=cluster_weight,
            default_weight=defaults.cluster_weight,
            where=where,
        )

    def _normalised(self, sketch: Any, size: int) -> Image.Image:
        return load_sketch(sketch, size=size, max_pixels=self._settings.ingest.max_pixels)

    def _resized(self, normalised: Image.Image, size: int) -> Image.Image:
        return normalised if normalised.size == (size, size) else self._normalised(normalised, size)

    def _search(
        self, draw: Callable[[int], list[Image.Image]], k: int | None, options: SearchOptions
    ) -> list[SearchResult]:
        """Searches; ``draw`` gives the sketches at the input size of an encoder, which may change on the way."""
        wanted = self._settings.search.k if k is None else k
        for _ in range(_MOST_SWITCHES):
            try:
                return self._search_as_of_now(draw, wanted, options)
            except EncoderMismatch:
                self._follow()
        return self._search_as_of_now(draw, wanted, options)

    def _search_as_of_now(
        self, draw: Callable[[int], list[Image.Image]], k: int, options: SearchOptions
    ) -> list[SearchResult]:
        encoder = self.encoder
        judge = self._judge_of(encoder)
        vectors = encoder.encode_sketches(draw(encoder.input_size))
        search = partial(self._searcher.search, vectors, options=options, fingerprint=encoder.fingerprint)
        if judge is None or k < 1:
            return self._with_keys(patiently(partial(search, k)))
        found = patiently(partial(search, max(k, judge.least_hits), judge=judge.judge))
        return self._with_keys([replace(result, hits=result.hits[:k]) for result in found])

    def _with_keys(self, results: list[SearchResult]) -> list[SearchResult]:
        """The hits of a gallery that is attached to a collection, each with its key there."""
        keys = None if self._keys is None else self._keys.read()
        if keys is None:
            return results
        return [
            replace(result, hits=tuple(replace(hit, key=keys.of(hit.photo_id)) for hit in result.hits))
            for result in results
        ]

    def _judge_of(self, encoder: BundleEncoder) -> ConfidenceJudge | None:
        known = self._judge
        if known is None or known[0] is not encoder:
            folder = encoder.bundle.path
            known = encoder, None if folder is None else ConfidenceJudge.of_bundle(folder)
            self._judge = known
        return known[1]

    def _follow(self) -> None:
        """Takes the encoder of the version that is served now.

        Raises:
            EncoderMismatch: It is not in the folder, or there is no folder.
        """
        with self._loading:
            wanted = patiently(lambda: self._searcher.fingerprint)
            if wanted == self.encoder.fingerprint:
                return
            encoder = self._former  # which is right after a roll-back
            if encoder is None or encoder.fingerprint != wanted:
                if self._folder is None or not has_model(self._folder, wanted):
                    self._searcher.require_encoder(self.encoder.fingerprint)
                    return  # it was rolled back this very moment
                encoder = open_encoder(self._folder.for_model(wanted).model_folder, self._settings)
            self._former, self.encoder = self.encoder, encoder

    def feedback(
        self,
        sketch: Any,
        accepted: Sequence[str | Path] = (),
        rejected: Sequence[str | Path] = (),
        *,
        category: str | None = None,
    ) -> list[FeedbackPair]:
        """Keeps which photos were right for a sketch, and which were wrong; retraining learns from it.

        Args:
            sketch: as it was searched for.
            accepted: URIs of photos that are right, as hits name them.
            rejected: likewise, of photos that are wrong.
            category: what the sketch shows, where it is known.

        Returns:
            What was written into the gallery's log.

        Raises:
            GalleryError: The gallery was not opened from its folder, or does not hold a photo.
            ImageError: The sketch cannot be read, or has no ink on it.
            OutputError: The gallery's folder cannot be written.
        """
        from sbka_milvus.embeddings.shards import read_known
        from sbka_milvus.pipelines.feedback import give_feedback

        if self._folder is None:
            raise GalleryError("Feedback is kept in the gallery's folder.", "Open the gallery from its folder.")
        gallery = self._folder.for_model(self.encoder.fingerprint)
        known = read_known(gallery.shard_folder)
        pairs = give_feedback(gallery, sketch, accepted, "accepted", category=category, source="api", known=known)
        return pairs + give_feedback(gallery, sketch, rejected, "rejected", source="api", known=known)

    def close(self) -> None:
        """Gives Milvus back; another process may then open the gallery."""
        self._store.close()

    def __enter__(self) -> SketchSearch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _at_what_is_served(folder: Gallery, store: MilvusGalleryStore, settings: Settings) -> Gallery:
    try:
        store.served(folder.name)
    except CollectionMissing as error:
        raise missing_index(folder, settings) from error
    remember_place(folder, settings)
    return follow_served(folder, store)


def is_many(value: Any) -> bool:
    """Whether a value is a list of sketches, rather than one sketch (which may itself be a list of strokes).

    >>> is_many(["a.png", "b.png"]), is_many([[(0, 0), (1, 1)]]), is_many([[[(0, 0), (1, 1)]]])
    (True, False, True)
    """
    return isinstance(value, (list, tuple)) and not (len(value) > 0 and all(_is_stroke(part) for part in value))


def _is_stroke(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 2 and value.shape[1] == 2
    return isinstance(value, (list, tuple)) and all(
        isinstance(point, (list, tuple, np.ndarray)) and len(point) == 2 and np.isscalar(point[0]) for point in value
    )

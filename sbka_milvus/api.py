"""What a user opens: ``SketchSearch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.attached import AttachedKeysReader
from sbka_milvus.errors import CollectionMissing, EncoderMismatch, GalleryError
from sbka_milvus.factory import open_encoder, open_store
from sbka_milvus.images import load_sketch
from sbka_milvus.latencies import Latencies
from sbka_milvus.patience import Circuit
from sbka_milvus.pipelines.codes import codes_finder
from sbka_milvus.pipelines.confidence import ConfidenceJudge
from sbka_milvus.pipelines.copies import copies_finder
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.pipelines.version_states import has_model
from sbka_milvus.pipelines.versions import follow_served
from sbka_milvus.places import missing_index, remember_place, require_index
from sbka_milvus.protocols import CodesOf, CopiesOf, MatchingOf
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.search.rerankers import RerankerChoice
from sbka_milvus.settings import Settings, load_settings
from sbka_milvus.types import FloatArray, SearchResult

if TYPE_CHECKING:
    from PIL import Image

    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.feedback import FeedbackPair
    from sbka_milvus.store import MilvusGalleryStore


class _Finders(TypedDict, total=False):
    matching_of: MatchingOf
    copies_of: CopiesOf
    codes_of: CodesOf


class HowToSearch(TypedDict, total=False):
    """How to search, beside what to search for; what is left out, or None, is as the settings have it.

    Keys:
        n_probe: exactly so many clusters are looked into. ``SBKA_SEARCH__N_PROBE``; by default as many as each sketch
            needs.
        exact: the hits must be the best photos of the whole gallery, and the result proves it (``SBKA_SEARCH__EXACT``).
        max_probe: look into at most so many clusters (``SBKA_SEARCH__MAX_PROBE``).
        deadline_ms: look into no further clusters after so many milliseconds (``SBKA_SEARCH__DEADLINE_MS``).
        cluster_weight: weight of the cluster's score. By default the version's own, where it is of the form *linear*;
            else ``SBKA_SEARCH__CLUSTER_WEIGHT``.
        where: a filter over the columns that the photos came with, such as ``year > 2020``: see docs/ingest.md.
        offset: leave out so many of the best hits; pages of one order, which makes the search exact.
        per_cluster: at most so many hits of one cluster.
        reranker: scores the best candidates anew: ``neighbours``, ``quantised``, ``fused``, an object or a function of
            your own. See docs/search.md.
        rerank_depth: so many candidates are re-ranked; by default max(4 k, 100). Nothing behind them is a hit.
    """

    n_probe: int | None
    exact: bool | None
    max_probe: int | None
    deadline_ms: float | None
    cluster_weight: float | None
    where: str | None
    offset: int | None
    per_cluster: int | None
    reranker: RerankerChoice | None
    rerank_depth: int | None


_MOST_SWITCHES = 4
"""Switches to another model that one query follows; it hardly ever meets more than one."""


class SketchSearch:
    """Finds photos by sketches in one gallery, in whichever version of it is served.

    Opened from a folder, it follows the gallery to another model: the first query that meets the new version loads
    that model, which takes seconds, and answers with it. Each answer is of one version and of that version's encoder.
    ``latencies.summary()`` tells how long searches took (:class:`~sbka_milvus.latencies.Latencies`).

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
        self.latencies = Latencies()
        self._circuit = Circuit()
        self._former: BundleEncoder | None = None
        self._judge: tuple[BundleEncoder, ConfidenceJudge | None] | None = None
        self._loading = Lock()
        self._store = store
        self._settings = settings
        self._folder = folder
        self._keys = None if folder is None else AttachedKeysReader(folder.root)
        self._finders: _Finders = {}
        if folder is not None:
            self._finders = {
                "matching_of": matching_finder(folder),
                "copies_of": copies_finder(folder),
                "codes_of": codes_finder(folder),
            }
        self._searcher = GallerySearcher(store, gallery, **self._finders)
        self._follow()
        self._judge_of(self.encoder)
        # What cannot be searched is told now and not at the first sketch.
        self._circuit.ask(lambda: self._searcher.matching)

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
        **how: Unpack[HowToSearch],
    ) -> Any:
        """The photos most like a sketch.

        Args:
            sketch: a path, the bytes of a file, a PIL image, an array or strokes; or a list of such.
            k: hits for each sketch; by default ``SBKA_SEARCH__K``.
            how: see :class:`HowToSearch`: ``n_probe``, ``exact``, ``where``, ``offset`` and so on.

        Returns:
            A :class:`~sbka_milvus.types.SearchResult`, which is a sequence of hits, best first; for a list of
            sketches a list of them. Its ``confidence`` says how likely the gallery holds what the sketch shows.

        Raises:
            ImageError: A sketch cannot be read, or has no ink on it.
            InvalidValue: A number is out of range, two do not go together, or a weight is asked for that is not the
                version's own.
            FilterError: The filter cannot be read, or names a column that there is not.
            MatchingError: What the version is matched by is missing or damaged.
            EncoderMismatch: The gallery was switched to a model that is not in its folder.
            StoreUnavailable: Milvus could not be reached for some seconds.
            RerankerError: The re-ranker failed, or gave no scores.
        """
        many = is_many(sketch)
        sketches = list(sketch) if many else [sketch]
        options = self._options(how)
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
        **how: Unpack[HowToSearch],
    ) -> list[SearchResult]:
        """As calling, for sketches that :meth:`normalise` made."""
        options = self._options(how)
        return self._search(lambda size: [self._resized(one, size) for one in sketches], k, options)

    def pages(self, sketch: Any, size: int | None = None, **how: Unpack[HowToSearch]) -> Iterator[SearchResult]:
        """The photos most like a sketch, page by page, until there are no more; at least one page, which may be empty.

        All pages are of one version and cut from one order, that of the exact search: none overlap, and no photo is
        missed. Photos that are removed meanwhile may move others up. The pages end with what a re-ranker saw.

        Args:
            sketch: one, as for calling.
            size: hits a page; by default ``SBKA_SEARCH__K``.
            how: as for calling; ``offset`` is where the first page begins.

        Raises:
            CollectionMissing: The version was dropped meanwhile, as the second switch after the first page does.
            SbkaError: Any of those of calling.
        """
        size = self._settings.search.k if size is None else size
        options = self._options({**how, "exact": True})
        for _ in range(_MOST_SWITCHES):
            encoder = self.encoder
            vectors = encoder.encode_sketches([self._normalised(sketch, encoder.input_size)])
            info = self._circuit.ask(lambda: self._searcher.info)
            if info.fingerprint == encoder.fingerprint:
                break
            self._follow()
        pinned = GallerySearcher(self._store, self.gallery, version=info, **self._finders)
        confidence: float | None = None
        begin = options.offset
        while True:
            (page,) = self._answers(pinned, encoder, vectors, size, options)
            confidence = page.confidence if options.offset == begin else confidence
            if len(page) or options.offset == begin:
                yield replace(page, confidence=confidence)
            following = options.offset + size
            if len(page) < size or (options.reranker is not None and following >= options.depth(size)):
                return
            options = replace(options, offset=following)

    def _options(self, how: HowToSearch) -> SearchOptions:
        defaults = self._settings.search
        asked: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
        if not asked.keys() & {"n_probe", "exact", "max_probe"}:
            if defaults.n_probe is not None:
                asked["n_probe"] = defaults.n_probe
            else:
                asked |= {"exact": defaults.exact, "max_probe": defaults.max_probe}
        return SearchOptions(default_weight=defaults.cluster_weight, **({"deadline_ms": defaults.deadline_ms} | asked))

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
        with self.latencies.timed("total"):
            with self.latencies.timed("encode"):
                vectors = encoder.encode_sketches(draw(encoder.input_size))
            with self.latencies.timed("search"):
                return self._answers(self._searcher, encoder, vectors, k, options)

    def _answers(
        self, searcher: GallerySearcher, encoder: BundleEncoder, vectors: FloatArray, k: int, options: SearchOptions
    ) -> list[SearchResult]:
        judge = self._judge_of(encoder)
        search = partial(searcher.search, vectors, fingerprint=encoder.fingerprint)
        if judge is None or k < 1:
            return self._with_keys(self._circuit.ask(partial(search, k, options)))
        if options.reranker is not None:
            reranked = partial(search, k, options, judge=judge.judge, judged=judge.least_hits)
            return self._with_keys(self._circuit.ask(reranked))
        # How sure a search is shows in its best hits, whatever is shown of them.
        best, first = replace(options, offset=0, exact=options.certain), options.offset
        found = self._circuit.ask(partial(search, max(first + k, judge.least_hits), best, judge=judge.judge))
        return self._with_keys([replace(result, hits=result.hits[first : first + k]) for result in found])

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
            wanted = self._circuit.ask(lambda: self._searcher.fingerprint)
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

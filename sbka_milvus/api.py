"""What a user opens: ``SketchSearch``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError
from sbka_milvus.factory import open_encoder, open_store, require_index
from sbka_milvus.images import load_sketch
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.settings import Settings, load_settings
from sbka_milvus.types import SearchResult

if TYPE_CHECKING:
    from PIL import Image

    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.store import MilvusGalleryStore


class SketchSearch:
    """Finds photos by sketches in one gallery.

    >>> search = SketchSearch.open("gallery/")  # doctest: +SKIP
    >>> for hit in search("cat.png", k=10):  # doctest: +SKIP
    ...     print(hit.rank, hit.score, hit.uri)
    """

    def __init__(self, gallery: str, encoder: BundleEncoder, store: MilvusGalleryStore, settings: Settings) -> None:
        """From parts that are open already; users call :meth:`open`.

        Raises:
            EncoderMismatch: The encoder is not the gallery's.
            CollectionMissing: The gallery is not in the store.
        """
        self.gallery = gallery
        self.encoder = encoder
        self._store = store
        self._settings = settings
        self._searcher = GallerySearcher(store, gallery)
        self._searcher.require_encoder(encoder.fingerprint)

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
            uri: address of a Milvus server; by default ``SBKA_MILVUS__URI``, else the Milvus in the folder.
            gallery: the gallery's name in Milvus; by default the folder's. Needed without ``path``.
            model: a model bundle; by default the one in the folder. Needed without ``path``.
            settings: by default those of the environment.

        Raises:
            GalleryError: The folder is no gallery, or a part is not named.
            EncoderMismatch: The model is not the one that embedded the gallery.
            BundleError: The model cannot be loaded.
            CollectionMissing: Milvus has no such gallery.
            StoreUnavailable: Milvus cannot be reached, or another process has the embedded one open.
        """
        settings = settings or load_settings()
        if uri is not None:
            settings = settings.model_copy(update={"milvus": settings.milvus.model_copy(update={"uri": uri})})
        folder = None if path is None else Gallery.open(Path(path))
        name = gallery or (folder.name if folder else None)
        bundle = Path(model) if model is not None else (folder.model_folder if folder else None)
        if name is None or bundle is None:
            raise GalleryError(
                "Without a gallery folder, the gallery's name and the model must be given.",
                'For example SketchSearch.open(uri="http://milvus:19530", gallery="products", model="model/").',
            )
        if folder is not None:
            require_index(folder, settings)
        encoder = open_encoder(bundle, settings)
        store = open_store(folder, settings)
        try:
            return cls(name, encoder, store, settings)
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
    ) -> Any:
        """The photos most like a sketch.

        Args:
            sketch: a path, the bytes of a file, a PIL image, an array or strokes; or a list of such.
            k: hits for each sketch; by default ``SBKA_SEARCH__K``.
            n_probe: clusters to look into; by default ``SBKA_SEARCH__N_PROBE``.
            cluster_weight: weight of the cluster's score; by default ``SBKA_SEARCH__CLUSTER_WEIGHT``.

        Returns:
            A :class:`~sbka_milvus.types.SearchResult`, which is a sequence of hits, best first; for a list of
            sketches a list of them.

        Raises:
            ImageError: A sketch cannot be read, or has no ink on it.
            InvalidValue: A number is out of range.
            StoreUnavailable: Milvus cannot be reached now.
        """
        many = is_many(sketch)
        normalised = [self.normalise(one) for one in (sketch if many else [sketch])]
        results = self.search_normalised(normalised, k, n_probe=n_probe, cluster_weight=cluster_weight)
        return results if many else results[0]

    def normalise(self, sketch: Any) -> Image.Image:
        """A sketch as the encoder sees it: RGB, dark ink on white, square.

        Raises:
            ImageError: The sketch cannot be read, or has no ink on it.
        """
        return load_sketch(sketch, size=self.encoder.input_size, max_pixels=self._settings.ingest.max_pixels)

    def search_normalised(
        self,
        sketches: Sequence[Image.Image],
        k: int | None = None,
        *,
        n_probe: int | None = None,
        cluster_weight: float | None = None,
    ) -> list[SearchResult]:
        """As calling, for sketches that :meth:`normalise` made."""
        defaults = self._settings.search
        options = SearchOptions(
            n_probe=defaults.n_probe if n_probe is None else n_probe,
            cluster_weight=defaults.cluster_weight if cluster_weight is None else cluster_weight,
        )
        vectors = self.encoder.encode_sketches(sketches)
        return self._searcher.search(vectors, defaults.k if k is None else k, options)

    def close(self) -> None:
        """Gives Milvus back; another process may then open the gallery."""
        self._store.close()

    def __enter__(self) -> SketchSearch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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

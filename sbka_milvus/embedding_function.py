"""``SbkaEmbeddingFunction``: vectors of sketches and photos for collections that a user makes by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbka_milvus.embeddings import Gallery
from sbka_milvus.encoders.manifest import MANIFEST_FILE
from sbka_milvus.errors import BundleError, InvalidValue
from sbka_milvus.factory import open_encoder
from sbka_milvus.images import load_photo, load_photo_uri, load_sketch
from sbka_milvus.settings import Settings, load_settings
from sbka_milvus.types import FloatArray

if TYPE_CHECKING:
    from PIL import Image


class SbkaEmbeddingFunction:
    """What pymilvus calls an embedding function: ``encode_queries`` for sketches, ``encode_documents`` for photos.

    It has the methods of the plug-ins of ``pymilvus.model`` and none of their base classes, so that it needs no more
    than this package. All vectors are of unit norm: a collection's metric is ``COSINE`` or ``IP``, which rank alike.

    >>> embed = SbkaEmbeddingFunction("model/")  # doctest: +SKIP
    >>> client.create_collection("photos", dimension=embed.dim, metric_type="COSINE")  # doctest: +SKIP
    """

    def __init__(self, path: str | Path, *, settings: Settings | None = None) -> None:
        """Loads a model.

        Args:
            path: a model bundle; or a gallery's folder, whose model is taken.
            settings: by default those of the environment; they name the device and the batch size.

        Raises:
            BundleError: There is no usable model.
            GalleryError: The gallery's folder is damaged.
            SettingsError: The device is not there.
        """
        settings = settings or load_settings()
        self._encoder = open_encoder(_bundle_of(Path(path)), settings)
        self._batch_size = settings.ingest.batch_size
        self._max_pixels = settings.ingest.max_pixels

    @property
    def model_name(self) -> str:
        """Of the model, as its manifest has it."""
        return self._encoder.bundle.manifest.name

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._encoder.dim

    @property
    def fingerprint(self) -> str:
        """Of the model: vectors of two functions can be compared where theirs are equal."""
        return self._encoder.fingerprint

    def __call__(self, photos: Sequence[Any]) -> list[FloatArray]:
        """As :meth:`encode_documents`: what is put into a collection are photos."""
        return self.encode_documents(photos)

    def encode_queries(self, queries: Sequence[Any]) -> list[FloatArray]:
        """Vectors of sketches.

        Args:
            queries: paths, bytes of files, PIL images, arrays or strokes.

        Returns:
            For each an array of shape (dim,), float32, of unit norm.

        Raises:
            ImageError: A sketch cannot be read, or has no ink on it.
            InvalidValue: It is one sketch and no list, or the model made vectors without direction.
        """
        return self._encoded(queries, "sketches", self._sketch, self._encoder.encode_sketches)

    def encode_documents(self, documents: Sequence[Any]) -> list[FloatArray]:
        """Vectors of photos.

        Args:
            documents: paths, addresses, members of archives (as a gallery names them), bytes of files, or PIL images.

        Returns:
            For each an array of shape (dim,), float32, of unit norm.

        Raises:
            ImageError: A photo cannot be read.
            InvalidValue: It is one photo and no list, or the model made vectors without direction.
        """
        return self._encoded(documents, "photos", self._photo, self._encoder.encode_photos)

    def _encoded(
        self,
        sources: Sequence[Any],
        nouns: str,
        load: Callable[[Any], Image.Image],
        encode: Callable[[Sequence[Image.Image]], FloatArray],
    ) -> list[FloatArray]:
        if isinstance(sources, (str, bytes, Path, np.ndarray)) or not isinstance(sources, Iterable):
            raise InvalidValue(f"A {type(sources).__name__} is no list of {nouns}.", "Pass a list, be it of one.")
        listed = list(sources)
        vectors: list[FloatArray] = []
        # So that the pictures of one batch alone are in memory.
        for start in range(0, len(listed), self._batch_size):
            vectors.extend(encode([load(one) for one in listed[start : start + self._batch_size]]))
        return vectors

    def _sketch(self, source: Any) -> Image.Image:
        return load_sketch(source, size=self._encoder.input_size, max_pixels=self._max_pixels)

    def _photo(self, source: Any) -> Image.Image:
        load: Callable[..., Image.Image] = load_photo_uri if isinstance(source, str) else load_photo
        return load(source, max_pixels=self._max_pixels, target_size=self._encoder.input_size)


def _bundle_of(path: Path) -> Path:
    if (path / MANIFEST_FILE).is_file():
        return path
    if (path / "gallery.json").is_file():
        return Gallery.open(path).model_folder
    raise BundleError(
        f"{path} is neither a model nor a gallery.", "Name the folder that `sbka train` or `sbka ingest` made."
    )

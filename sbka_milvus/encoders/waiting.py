"""An encoder whose network is loaded when it is needed: a run that has nothing to encode needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.types import FloatArray

if TYPE_CHECKING:
    from PIL import Image

    from sbka_milvus.protocols import Encoder


class WaitingEncoder:
    """What a bundle's manifest tells of its encoder, and the encoder itself from the first picture on."""

    def __init__(self, manifest: Manifest, load: Callable[[], Encoder]) -> None:
        """Loads nothing.

        Args:
            manifest: of the bundle.
            load: gives its encoder; called once at most.
        """
        self._manifest = manifest
        self._load = load
        self._loaded: Encoder | None = None
        self._expected = 0

    @property
    def dim(self) -> int:
        """See :class:`~sbka_milvus.protocols.Encoder`."""
        return self._manifest.dim

    @property
    def fingerprint(self) -> str:
        """See :class:`~sbka_milvus.protocols.Encoder`."""
        return self._manifest.fingerprint

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return int(self._manifest.preprocessing["size"])

    def load(self) -> Encoder:
        """The encoder, loaded now if it was not before.

        Raises:
            SbkaError: It cannot be loaded.
        """
        if self._loaded is None:
            self._loaded = self._load()
            if self._expected:
                self.expect(self._expected)
        return self._loaded

    def expect(self, photos: int) -> None:
        """See :class:`~sbka_milvus.protocols.ExpectingEncoder`; loads nothing."""
        from sbka_milvus.protocols import ExpectingEncoder

        self._expected = photos
        loaded: object = self._loaded
        if isinstance(loaded, ExpectingEncoder):
            loaded.expect(photos)

    @property
    def batches_at_once(self) -> int:
        """See :class:`~sbka_milvus.protocols.ExpectingEncoder`; loads nothing."""
        return int(getattr(self._loaded, "batches_at_once", 1))

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        """See :class:`~sbka_milvus.protocols.Encoder`."""
        return self.load().encode_photos(photos)

    def encode_sketches(self, sketches: Sequence[Image.Image]) -> FloatArray:
        """See :class:`~sbka_milvus.protocols.Encoder`."""
        return self.load().encode_sketches(sketches)

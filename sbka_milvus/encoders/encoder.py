"""The encoder that serves: a model bundle on a device, in the precision that pays there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from sbka_milvus.encoders.bundle import ModelBundle
from sbka_milvus.encoders.precision import FP32, Precision, choose_precision, resolve_device
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, normalise

MEASURE_FROM = 256
"""Pictures from which measuring the fastest precision pays for itself."""


class BundleEncoder:
    """Encodes photos and sketches with a model bundle; an :class:`~sbka_milvus.protocols.Encoder`.

    Sketches and photos go through the same network (SBKA's student has no modality tag).
    Safe to call from one thread at a time.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        device: str = "auto",
        batch_size: int = 32,
        precision: Precision | None = None,
    ) -> None:
        """Puts the bundle on a device.

        Args:
            bundle: what to serve.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
            batch_size: pictures encoded at once.
            precision: how to run; by default measured once enough pictures came, fp32 until then.

        Raises:
            SettingsError: The device is not there.
        """
        self.bundle = bundle
        self.batch_size = batch_size
        self.device = resolve_device(device)
        self._precision = precision
        self._encoded = 0
        self._backbone = bundle.backbone.to(self.device).eval()

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.bundle.dim

    @property
    def fingerprint(self) -> str:
        """See :class:`~sbka_milvus.protocols.Encoder`."""
        return self.bundle.fingerprint

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.bundle.backbone.preprocessing.size

    def encode_photos(self, photos: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows, for N upright RGB pictures.

        Raises:
            InvalidValue: The network made vectors without direction (zero or not finite).
        """
        return self._encode(photos)

    def encode_sketches(self, sketches: Sequence[Image.Image]) -> FloatArray:
        """shape (N, dim), float32, unit rows, for N normalised sketches (dark ink on white).

        Raises:
            InvalidValue: The network made vectors without direction (zero or not finite).
        """
        return self._encode(sketches)

    def encode_pixels(self, pixels: torch.Tensor) -> FloatArray:
        """shape (N, dim), float32, unit rows, for pixels of shape (N, 3, S, S), uint8."""
        precision = self._precision_for(len(pixels))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), self.batch_size):
                batch = pixels[start : start + self.batch_size].to(self.device)
                scaled = self._backbone.preprocessing.scale(batch)
                parts.append(precision.run(self._backbone, scaled).cpu().numpy())
        if not parts:
            return np.empty((0, self.dim), dtype=np.float32)
        return normalise(np.concatenate(parts))

    def _encode(self, images: Sequence[Image.Image]) -> FloatArray:
        try:
            return self.encode_pixels(self._backbone.preprocessing.stack(images))
        except InvalidValue as error:
            raise InvalidValue(
                f"The model {self.bundle.manifest.name} gave vectors without direction.", "Train or import it again."
            ) from error

    def _precision_for(self, count: int) -> Precision:
        self._encoded += count
        if self._precision is None and self._encoded >= MEASURE_FROM:
            self._precision = choose_precision(self._backbone, self.device, self.input_size)
        return self._precision or FP32

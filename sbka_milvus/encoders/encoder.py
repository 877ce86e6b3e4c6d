"""The encoder that serves: a model bundle on a device, in the precision that pays there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import torch
from PIL import Image

from sbka_milvus.encoders.batches import BatchGraph, choose_graph
from sbka_milvus.encoders.bundle import ModelBundle
from sbka_milvus.encoders.pieces import LEAST, Batch, Pieces
from sbka_milvus.encoders.precision import (
    CHANNELS_LAST,
    FP32,
    Precision,
    choose_precision,
    computes_in_fp32_alone,
    resolve_device,
)
from sbka_milvus.encoders.single import SingleWay, choose_single
from sbka_milvus.errors import InvalidValue
from sbka_milvus.types import FloatArray, normalise

MEASURE_FROM = 256
"""Pictures from which measuring the fastest precision pays for itself."""
PREPARE_FROM = 16
"""Calls with a few sketches from which preparing for more of them pays for itself."""
FEW = 8
"""Sketches of one call that are encoded one after the other, where that was prepared."""


class BundleEncoder:
    """Encodes photos and sketches with a model bundle; an :class:`~sbka_milvus.protocols.Encoder`.

    Sketches and photos go through the same network (SBKA's student has no modality tag). A few sketches at a time are
    encoded in the way that :mod:`~sbka_milvus.encoders.single` found fastest, once enough of them came; batches, on a
    CPU, in the pieces that :mod:`~sbka_milvus.encoders.pieces` found fastest, and by a graph where
    :mod:`~sbka_milvus.encoders.batches` found that to be faster. Threads may share it.
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
            precision: how to run, few sketches too; by default measured once enough pictures came, fp32 until then.

        Raises:
            SettingsError: The device is not there.
        """
        self.bundle = bundle
        self.batch_size = batch_size
        self.device = resolve_device(device)
        self._precision = precision
        self._encoded = 0
        self._expected = 0
        self._single: SingleWay | None = None
        self._few_calls = 0
        self._is_prepared = precision is not None or self.device.type != "cpu"
        self._preparing = Lock()
        self._pieces = self._new_pieces()
        self._graph: BatchGraph | None = None
        self._may_graph = precision is None and self.device.type == "cpu"
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

    def expect(self, photos: int) -> None:
        """So many photos are about to be encoded: what pays for as many is found out at once, and not on the way."""
        self._expected = photos

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
        if 0 < len(sketches) <= FEW and not self._is_prepared:
            self._few_calls += 1
            if self._few_calls >= PREPARE_FROM:
                self.prepare(wait=False)
        return self._encode(sketches, few=len(sketches) <= FEW)

    @property
    def single_way(self) -> SingleWay | None:
        """How a few sketches are encoded; none: as all pictures are."""
        return self._single

    @property
    def piece_size(self) -> int | None:
        """Pictures that a core of the CPU encodes at once, 0 where all cores share a batch; none: not known yet."""
        if self._graph is not None:
            return self._graph.size
        return None if self._pieces is None else self._pieces.size

    @property
    def batches_at_once(self) -> int:
        """See :class:`~sbka_milvus.protocols.ExpectingEncoder`: cores that are done with the pieces of one batch begin
        with the next one's, and do not wait for one another."""
        return 2 if self._is_found and self.piece_size else 1

    def prepare(self, *, wait: bool = True) -> None:
        """Finds the fastest way to encode single sketches on this CPU, now and not after some searches.

        It takes seconds, once. Where the precision was given, or on another device, nothing is to be found.

        Args:
            wait: for another thread that is at it.
        """
        if self._is_prepared or not self._preparing.acquire(blocking=wait):
            return
        try:
            if not self._is_prepared:
                self._single = choose_single(self._backbone)
                self._is_prepared = True
        finally:
            self._preparing.release()

    def encode_pixels(self, pixels: torch.Tensor) -> FloatArray:
        """shape (N, dim), float32, unit rows, for pixels of shape (N, 3, S, S), uint8."""
        return self._encode_batches(pixels, lambda piece: piece)

    def _encode_batches(self, pictures: Batch, pixels_of: Callable[[Batch], torch.Tensor]) -> FloatArray:
        self._encoded += len(pictures)

        def scaled(some: Batch) -> torch.Tensor:
            return self._backbone.preprocessing.scale(pixels_of(some).to(self.device))

        def plainly(pixels: torch.Tensor) -> torch.Tensor:
            return (self._precision or FP32).run(self._backbone, pixels)

        def features(some: Batch) -> torch.Tensor:
            graph = self._graph
            return plainly(scaled(some)) if graph is None else graph.encode(scaled(some), plainly)

        parts = []
        with torch.inference_mode():
            for start in range(0, len(pictures), self.batch_size):
                batch = pictures[start : start + self.batch_size]
                if not self._is_found and max(self._encoded, self._expected) >= MEASURE_FROM:
                    self._find_out(scaled, batch)
                pieces = self._pieces
                found = features(batch) if pieces is None else pieces.run(features, batch, self.piece_size)
                parts.append(found.cpu().numpy())
        if not parts:
            return np.empty((0, self.dim), dtype=np.float32)
        return normalise(np.concatenate(parts))

    @property
    def _is_found(self) -> bool:
        """Whether all is known of how batches are encoded fastest, but into what pieces they are cut."""
        return self._precision is not None and not self._may_graph

    def _find_out(self, scaled: Callable[[Batch], torch.Tensor], batch: Batch) -> None:
        """Whether a graph encodes batches faster than the layers, and in which precision these are fastest."""
        if not self._preparing.acquire(blocking=False):
            return
        try:
            if self._may_graph and len(batch) >= LEAST:
                self._may_graph = False
                self._find_graph(scaled(batch))
            if self._precision is None:
                self._find_precision()
        finally:
            self._preparing.release()

    def _find_graph(self, pixels: torch.Tensor) -> None:
        if self._precision is None and not computes_in_fp32_alone(self.device):
            self._find_precision()
        # Where layouts alone differ, one of them is left for what a graph leaves over of a batch: which of the two is
        # faster is not worth finding out.
        precision = self._precision or CHANNELS_LAST
        if precision.autocast is None and self._pieces is not None:
            self._graph = choose_graph(self._backbone, precision, pixels, self._pieces)
            if self._graph is not None:
                self._precision = precision

    def _find_precision(self) -> None:
        self._precision = choose_precision(self._backbone, self.device, self.input_size)
        if self._precision != FP32:
            # What each way of cutting takes is compared in one precision.
            self._pieces = self._new_pieces()

    @property
    def graph(self) -> BatchGraph | None:
        """What encodes pieces of batches; none: the network's layers do."""
        return self._graph

    def _encode_few(self, way: SingleWay, pixels: torch.Tensor) -> FloatArray:
        with torch.inference_mode():
            scaled = self._backbone.preprocessing.scale(pixels)
            return normalise(torch.cat([way.run(one[None]) for one in scaled]).numpy())

    def _encode(self, images: Sequence[Image.Image], *, few: bool = False) -> FloatArray:
        stack, way = self._backbone.preprocessing.stack, self._single
        try:
            if few and way and len(images):
                return self._encode_few(way, stack(images))
            return self._encode_batches(images, stack)
        except InvalidValue as error:
            raise InvalidValue(
                f"The model {self.bundle.manifest.name} gave vectors without direction.", "Train or import it again."
            ) from error

    def _new_pieces(self) -> Pieces | None:
        return Pieces() if self.device.type == "cpu" else None

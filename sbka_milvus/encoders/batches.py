"""Whether a fused graph encodes batches on a CPU: that too is measured, and one that changes vectors is not taken.

A graph is made for pieces of one number of pictures; what is left over of a batch goes through the layers as before.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.graphs import Run, fused
from sbka_milvus.encoders.precision import MIN_COSINE, Precision

_LOG = logging.getLogger(__name__)

MIN_GAIN = 1.1
"""A graph must be so many times as fast as the layers to be taken: it takes as much memory again as the weights do."""
ENOUGH = 1.3
"""When a graph is so many times as fast, no other is tried."""
_ROUNDS = 3
_LAYOUTS = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}


class Spread(Protocol):
    """Does something on as many cores at once as pieces of a batch are encoded by."""

    def __call__(self, work: Callable[[], float]) -> list[float]:
        """What each of them gave."""


@dataclass(frozen=True, slots=True)
class BatchGraph:
    """A fused graph of a network.

    Attributes:
        size: pictures of a piece that it takes.
        layout: how they lie in memory, for people.
        run: for pieces of that size.
        cosine: the least one with the features of the network, of some pictures.
        gain: how many times as fast as the network it was.
    """

    size: int
    layout: str
    run: Run
    cosine: float
    gain: float


def choose_graph(
    backbone: Backbone,
    precision: Precision,
    pixels: torch.Tensor,
    spread: Spread,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchGraph | None:
    """The fastest graph whose features keep a cosine of at least ``MIN_COSINE`` to those of the network.

    It takes as long as encoding some hundred pictures.

    Args:
        backbone: in eval mode, on the CPU. It is left as it is.
        precision: that it is run in.
        pixels: shape (N, 3, S, S), float32, scaled: a piece.
        spread: for timing: all cores are at work then.
        clock: seconds since some moment.

    Returns:
        None where no graph is at least ``MIN_GAIN`` times as fast as the network.
    """

    def plainly(some: torch.Tensor) -> torch.Tensor:
        return precision.run(backbone, some)

    with torch.inference_mode():
        wanted = plainly(pixels).double()
    best: BatchGraph | None = None
    for name, layout in _LAYOUTS.items():
        try:
            run = fused(backbone, pixels, layout)
            with torch.inference_mode():
                cosine = float(torch.nn.functional.cosine_similarity(run(pixels).double(), wanted).min())
        except Exception as error:  # a network may do anything that a graph cannot
            _LOG.debug("%s cannot be encoded by a graph, %s: %s", backbone.spec, name, error)
            continue
        # Not "<": features that overflowed have a cosine of NaN, which must be refused too.
        if not cosine >= MIN_COSINE:
            _LOG.info("%s is not encoded by a graph, %s: its cosines fall to %.5f.", backbone.spec, name, cosine)
            continue
        gain = _gain(plainly, run, pixels, spread, clock)
        if gain >= (MIN_GAIN if best is None else best.gain):
            best = BatchGraph(len(pixels), name, run, cosine, gain)
        if gain >= ENOUGH:
            break
    said = "layer by layer" if best is None else f"by a graph, {best.layout}, {best.gain:.2f} times as fast"
    _LOG.info("%s encodes batches %s.", backbone.spec, said)
    return best


def _gain(plainly: Run, run: Run, pixels: torch.Tensor, spread: Spread, clock: Callable[[], float]) -> float:
    """How many times as fast ``run`` is, by the shortest times; by turns, so that what else is done falls on both."""
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for place, one in enumerate((plainly, run)):
            best[place] = min(best[place], statistics.mean(spread(partial(_timed, one, pixels, clock))))
    return best[0] / max(best[1], 1e-9)


def _timed(run: Run, pixels: torch.Tensor, clock: Callable[[], float]) -> float:
    with torch.inference_mode():
        start = clock()
        run(pixels)
        return clock() - start

"""Whether a graph encodes batches on a CPU: that too is measured, and one that changes vectors is not taken.

A graph is made for pieces of one number of pictures; what is left over of a batch goes through the layers as before.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.graphs import FUSED, Make, Run, eight_bit_makers
from sbka_milvus.encoders.pieces import WHOLE, Pieces
from sbka_milvus.encoders.precision import MIN_COSINE, Precision

_LOG = logging.getLogger(__name__)

MIN_GAIN = 1.1
"""A graph must be so many times as fast as the layers to be taken: it takes as much memory again as the weights do."""
ENOUGH = 1.2
"""When a graph is so many times as fast, no other is tried, and it is not timed again."""
PIECE = 8
"""Pictures of a piece: graphs of 4 and of 16 were measured to be as fast on two cores."""
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class BatchGraph:
    """A graph of a network.

    Attributes:
        name: for people.
        size: pictures of a piece that it takes.
        run: for pieces of that size.
        cosine: the least one with the features of the network, of the pictures of a batch.
        gain: how many times as fast as the network it was.
    """

    name: str
    size: int
    run: Run
    cosine: float = 1.0
    gain: float = 1.0

    def encode(self, pixels: torch.Tensor, plainly: Run) -> torch.Tensor:
        """Features of any number of pictures: of another number than it is made for by the layers."""
        return self.run(pixels) if len(pixels) == self.size else plainly(pixels)


def choose_graph(
    backbone: Backbone,
    precision: Precision,
    pixels: torch.Tensor,
    pieces: Pieces,
    clock: Callable[[], float] = time.perf_counter,
) -> BatchGraph | None:
    """The fastest graph whose features keep a cosine of at least ``MIN_COSINE`` to those of the network.

    It takes as long as encoding some eighty pictures.

    Args:
        backbone: in eval mode, on the CPU. It is left as it is.
        precision: that it is run in.
        pixels: shape (N, 3, S, S), float32, scaled: a batch, at least a piece.
        pieces: by which batches are cut.
        clock: seconds since some moment.

    Returns:
        None where no graph is at least ``MIN_GAIN`` times as fast as the network.
    """
    timing = _Timing(partial(precision.run, backbone), pixels[: PIECE * torch.get_num_threads()], pieces, clock)
    # Where there are more cores than pieces, they may do better together.
    sizes = {PIECE} if len(pixels) >= PIECE * torch.get_num_threads() else {PIECE, len(pixels)}
    best: BatchGraph | None = None
    for size, (name, make) in itertools.product(sorted(sizes), _makers().items()):
        try:
            graph = timing.of(BatchGraph(name, size, make(backbone, pixels[:size])))
        except Exception as error:  # a network may do anything that a graph cannot
            _LOG.debug("%s cannot be encoded by %s: %s", backbone.spec, name, error)
            continue
        # Not "<": features that overflowed have a cosine of NaN, which must be refused too.
        if not graph.cosine >= MIN_COSINE:
            _LOG.info("%s is not encoded by %s: its cosines fall to %.5f.", backbone.spec, name, graph.cosine)
            continue
        if graph.gain >= (MIN_GAIN if best is None else best.gain):
            best = graph
        if graph.gain >= ENOUGH:
            break
    said = "layer by layer" if best is None else f"by {best.name}, {best.gain:.2f} times as fast"
    _LOG.info("%s encodes batches %s.", backbone.spec, said)
    return best


def _makers() -> dict[str, Make]:
    """Those first that gain most where they can be taken."""
    return eight_bit_makers() | FUSED


@dataclass(frozen=True, slots=True)
class _Timing:
    """Times graphs against the layers, whichever way those are faster in: by whole batches or by pieces."""

    plainly: Run
    pixels: torch.Tensor
    pieces: Pieces
    clock: Callable[[], float]

    def of(self, graph: BatchGraph) -> BatchGraph:
        """With its cosine and its gain, by the shortest times; by turns, so that what else is done falls on all."""

        def by_graph(some: torch.Tensor) -> torch.Tensor:
            return graph.encode(some, self.plainly)

        ways = ((self.plainly, WHOLE), (self.plainly, PIECE), (by_graph, graph.size))
        best = [float("inf")] * len(ways)
        found = [torch.empty(0)] * len(ways)
        gain = 0.0
        for _ in range(_ROUNDS):
            for place, (run, size) in enumerate(ways):
                start = self.clock()
                found[place] = self.pieces.run(run, self.pixels, size)
                best[place] = min(best[place], self.clock() - start)
            gain = min(best[:2]) / max(best[2], 1e-9)
            if gain >= ENOUGH:
                break
        cosine = float(torch.nn.functional.cosine_similarity(found[0].double(), found[2].double()).min())
        return replace(graph, cosine=cosine, gain=gain)

"""How one picture alone is encoded fastest on a CPU: a search encodes one sketch, and somebody waits for it.

A network that is called layer by layer spends much of that time between its layers, and on bringing weights into the
order that the processor wants. A frozen graph has done both before; 8-bit weights are a quarter of what must be read.
Which way pays depends on network and processor, so it is measured, and one that changes vectors is passed over.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from sbka_milvus.encoders.backbones import Backbone
from sbka_milvus.encoders.graphs import FUSED, Make, Run, eight_bit_makers, frozen
from sbka_milvus.encoders.precision import MIN_COSINE, cpu_computes_bf16

_LOG = logging.getLogger(__name__)

MIN_GAIN = 1.1
"""A way must be so many times as fast as the plain one to be taken."""
ENOUGH = 1.5
"""When a way is so many times as fast, no other is tried."""

_ROUNDS = 12
_MOST_S = 3.0
"""Of timing one way: on a busy machine fewer rounds must do."""
_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class SingleWay:
    """A way to encode one picture.

    Attributes:
        name: for people.
        run: from scaled pixels, shape (1, 3, S, S), float32, to a feature, shape (1, D), float32.
        cosine: the least one with the features of the plain network, over some drawn sketches.
        gain: how many times as fast as the plain network it was.
    """

    name: str
    run: Run
    cosine: float
    gain: float


def choose_single(backbone: Backbone, clock: Callable[[], float] = time.perf_counter) -> SingleWay | None:
    """The fastest way whose features keep a cosine of at least ``MIN_COSINE`` to those of the plain network.

    It takes some seconds, and up to as much memory as the network has weights.

    Args:
        backbone: in eval mode, on the CPU. It is left as it is.
        clock: seconds since some moment.

    Returns:
        None where no way is at least ``MIN_GAIN`` times as fast as the plain network.
    """
    samples = sample_sketches(backbone)
    best: SingleWay | None = None
    with torch.inference_mode():
        wanted = [backbone(sample).float() for sample in samples]
        for name, make in _makers().items():
            try:
                run = make(backbone, samples[0])
                cosine = _least_cosine([run(sample) for sample in samples], wanted)
            except Exception as error:  # a network may do anything that one way or another cannot
                _LOG.debug("%s cannot be encoded as %s: %s", backbone.spec, name, error)
                continue
            # Not "<": features that overflowed have a cosine of NaN, which must be refused too.
            if not cosine >= MIN_COSINE:
                _LOG.info("%s is not encoded as %s: its cosines fall to %.5f.", backbone.spec, name, cosine)
                continue
            gain = _gain(backbone, run, samples[0], clock)
            if gain >= (MIN_GAIN if best is None else best.gain):
                best = SingleWay(name, run, cosine, gain)
            if gain >= ENOUGH:
                break
    _LOG.info("%s encodes single sketches %s.", backbone.spec, "plainly" if best is None else f"as {best.name}")
    return best


def sample_sketches(backbone: Backbone) -> list[torch.Tensor]:
    """Drawn sketches as a backbone sees them, each of shape (1, 3, S, S), float32: always the same."""
    rng = np.random.default_rng(0)
    size = backbone.preprocessing.size
    drawn = []
    for _ in range(_SAMPLES):
        picture = Image.new("RGB", (size, size), "white")
        pen = ImageDraw.Draw(picture)
        for _ in range(6):
            ends = rng.uniform(0.1, 0.9, (4, 2)) * size
            pen.line([(float(x), float(y)) for x, y in ends], fill="black", width=max(1, size // 100))
        drawn.append(backbone.preprocessing.scale(backbone.preprocessing.stack([picture])))
    return drawn


def _makers() -> dict[str, Make]:
    """Those first that gain most where they can be taken."""
    makers = eight_bit_makers()
    if cpu_computes_bf16():
        makers["a graph of bf16"] = _bf16
    return makers | FUSED | {"a graph": _graph}


def _graph(backbone: nn.Module, sample: torch.Tensor) -> Run:
    return frozen(copy.deepcopy(backbone), sample, torch.channels_last)


def _bf16(backbone: nn.Module, sample: torch.Tensor) -> Run:
    run = frozen(copy.deepcopy(backbone).to(torch.bfloat16), sample.to(torch.bfloat16), torch.channels_last)
    return lambda pixels: run(pixels.to(torch.bfloat16))


def _least_cosine(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    cosines = torch.nn.functional.cosine_similarity(torch.cat(found).double(), torch.cat(wanted).double())
    return float(cosines.min())


def _gain(plain: Run, run: Run, sample: torch.Tensor, clock: Callable[[], float]) -> float:
    """How many times as fast ``run`` is, by the shortest times; by turns, so that what else is done falls on both."""
    best = [float("inf"), float("inf")]
    end = clock() + _MOST_S
    for _ in range(_ROUNDS):
        if clock() > end:
            break
        for place, one in enumerate((plain, run)):
            start = clock()
            one(sample)
            best[place] = min(best[place], clock() - start)
    return best[0] / max(best[1], 1e-9)

"""Networks as frozen graphs: nothing is decided between layers any more, and weights lie as the processor wants them.

A graph is made for pictures of one number and size. oneDNN fuses convolutions with what follows them, normalisation
included, which spares reading and writing each of those layers' results.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from threading import Lock

import torch
from torch import nn

from sbka_milvus.encoders.quantised import EightBitLinear, EightBitRows, Linear, quantise

Run = Callable[[torch.Tensor], torch.Tensor]
"""From scaled pixels, shape (N, 3, S, S), float32, to features, shape (N, D), float32."""

Make = Callable[[nn.Module, torch.Tensor], Run]
"""Makes a graph of a network for pixels like those given."""

_WARM_UPS = 2
"""Runs in which TorchScript looks at shapes and then optimises."""
_fusing = Lock()


def fused(net: nn.Module, sample: torch.Tensor, layout: torch.memory_format = torch.contiguous_format) -> Run:
    """A graph in which oneDNN fuses what it can.

    Args:
        net: in eval mode, on the CPU; it is left as it is.
        sample: pixels, as those that will come.
        layout: how pictures and convolutions lie in memory.
    """
    # What a graph was fused to in its first runs stays so; others' graphs are none of our business. One at a time: of
    # two the second would take what the first has set for what was there before.
    with _fusing:
        before = torch.jit.onednn_fusion_enabled()  # type: ignore[no-untyped-call]
        torch.jit.enable_onednn_fusion(True)
        try:
            return frozen(copy.deepcopy(net), sample, layout)
        finally:
            torch.jit.enable_onednn_fusion(before)


FUSED: dict[str, Make] = {
    "a fused graph": partial(fused, layout=torch.channels_last),
    "a fused graph, channels first": fused,
}
"""Fused graphs, by their names, the one first that mostly is faster."""


def eight_bits(net: nn.Module, sample: torch.Tensor, linear: Linear = EightBitLinear) -> Run:
    """A graph with weights of 8 bits; the other arguments are those of :func:`fused`.

    Raises:
        NotImplementedError: Most of the network's weights are not in linear layers.
    """
    return frozen(quantise(copy.deepcopy(net), linear), sample, torch.channels_last)


def eight_bit_makers() -> dict[str, Make]:
    """Graphs with weights of 8 bits, by their names, the faster one first; none where the processor has no VNNI."""
    if not torch.cpu._is_vnni_supported():
        return {}
    return {
        "a graph of 8 bits": eight_bits,
        "a graph of 8 bits, scales by the row": partial(eight_bits, linear=EightBitRows),
    }


def frozen(net: nn.Module, sample: torch.Tensor, layout: torch.memory_format) -> Run:
    """A graph of a network that is no longer needed itself; the other arguments are those of :func:`fused`."""
    net = net.to(memory_format=layout).eval()
    sample = sample.contiguous(memory_format=layout)
    with torch.no_grad(), warnings.catch_warnings():
        # It calls itself deprecated; what is to follow compiles for minutes and needs a compiler.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, sample, check_trace=False)  # type: ignore[no-untyped-call]
        graph = torch.jit.freeze(traced)
        for _ in range(_WARM_UPS):
            graph(sample)
    return lambda pixels: graph(pixels.contiguous(memory_format=layout)).float()

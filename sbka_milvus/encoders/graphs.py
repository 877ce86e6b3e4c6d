"""Networks as frozen graphs: nothing is decided between layers any more, and weights lie as the processor wants them.

A graph is made for pictures of one number and size. oneDNN fuses convolutions with what follows them, normalisation
included, which spares reading and writing each of those layers' results.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from threading import Lock

import torch
from torch import nn

Run = Callable[[torch.Tensor], torch.Tensor]
"""From scaled pixels, shape (N, 3, S, S), float32, to features, shape (N, D), float32."""

_WARM_UPS = 3
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

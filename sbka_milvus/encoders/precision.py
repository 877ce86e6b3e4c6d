"""Which number format and memory layout encode fastest on this machine: measured, not assumed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sbka_milvus.errors import SettingsError

MIN_COSINE = 0.999
"""A faster format must give vectors at least this close to those of fp32."""

_BATCH = 8
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Precision:
    """A way to run a network.

    Attributes:
        autocast: the type of autocast's fast operations, or none for fp32 throughout.
        channels_last: whether pictures and convolutions lie with channels last in memory.
    """

    autocast: torch.dtype | None = None
    channels_last: bool = False

    def __str__(self) -> str:
        name = "fp32" if self.autocast is None else str(self.autocast).removeprefix("torch.")
        return name + (" channels_last" if self.channels_last else "")

    def run(self, net: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor) -> torch.Tensor:
        """``net(pixels)`` in this precision, as float32."""
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            return net(pixels).float()


FP32 = Precision()
CHANNELS_LAST = Precision(channels_last=True)
BF16 = Precision(torch.bfloat16, channels_last=True)
FP16 = Precision(torch.float16, channels_last=True)

BY_NAME = {"auto": None, "fp32": FP32, "bf16": BF16}
"""What the setting may say; none: it is measured."""


def resolve_device(name: str) -> torch.device:
    """The torch device of a setting; ``auto`` is CUDA where there is one.

    Raises:
        SettingsError: The name is unknown or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"There is no device {name!r}.", "Use auto, cpu, cuda or cuda:0.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"The device {name!r} is not usable here: torch sees no CUDA.", "Use auto or cpu.")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise SettingsError(f"The device {name!r} is not usable here.", "Use auto or cpu.") from error
    return device


def training_precision(device: torch.device) -> Precision:
    """bf16 where the processor computes in it, else fp32.

    It is read off the processor and not timed, so that one seed trains one model however busy the machine is.
    """
    has_bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_computes_bf16()
    return BF16 if has_bf16 else CHANNELS_LAST


def cpu_computes_bf16() -> bool:
    """Whether the processor has instructions for bf16.

    oneDNN calls it supported on every x86 processor with AVX-512, also where it computes in fp32 and converts, which is
    slower than fp32 alone.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def computes_in_fp32_alone(device: torch.device) -> bool:
    """Whether precisions differ by their memory layout alone: a CPU without instructions for a shorter type."""
    return device.type == "cpu" and not cpu_computes_bf16()


def choose_precision(
    net: nn.Module, device: torch.device, size: int, clock: Callable[[], float] = time.perf_counter
) -> Precision:
    """The fastest precision for a network whose vectors keep a cosine of at least ``MIN_COSINE`` to fp32's.

    Args:
        net: in eval mode, on ``device``.
        device: where it runs.
        size: side of its input in pixels.
        clock: seconds since some moment.
    """
    pixels = torch.randn((_BATCH, 3, size, size), generator=torch.Generator().manual_seed(0)).to(device)
    candidates = [FP32, CHANNELS_LAST]
    if not computes_in_fp32_alone(device):
        candidates.append(BF16)
    if device.type == "cuda":
        candidates.append(FP16)
    with torch.inference_mode():
        reference = FP32.run(net, pixels)
        best, best_time = FP32, float("inf")
        for candidate in candidates:
            vectors = candidate.run(net, pixels)
            # Not "<": vectors that overflowed have a cosine of NaN, which must be refused too.
            if not torch.nn.functional.cosine_similarity(vectors, reference).min() >= MIN_COSINE:
                continue
            elapsed = _fastest(candidate, net, pixels, clock)
            if elapsed < best_time:
                best, best_time = candidate, elapsed
    return best


def _fastest(precision: Precision, net: nn.Module, pixels: torch.Tensor, clock: Callable[[], float]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = clock()
        precision.run(net, pixels)
        if pixels.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return min(times)

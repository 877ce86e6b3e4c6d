"""How long searches take, as histograms: of one opened gallery, for its user and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sbka_milvus.telemetry import SEARCH_SECONDS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Stage = Literal["encode", "search", "total"]
"""Reading and encoding sketches; finding photos, Milvus' part included; both, with whatever lies between."""

_STEPS = (1, 1.5, 2, 3, 5, 7)
_BOUNDS_S = (*(round(step * 10.0**power, 6) for power in range(-4, 1) for step in _STEPS), 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one stage took.

    Attributes:
        count: how often.
        mean_ms: milliseconds.
        p50_ms: the median, by the bounds of the histogram: a fifth too high or too low at most.
        p95_ms: 95th percentile, likewise.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float


class Latencies:
    """Histograms of the stages of a search. Threads may share it.

    Attributes:
        registry: for ``prometheus_client``, to be shown with an application's own metrics.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        name, text, labels = SEARCH_SECONDS
        self._histogram = Histogram(name, text, labels, buckets=_BOUNDS_S, registry=self.registry)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Counts how long the block takes, where it ends well."""
        start = time.perf_counter()
        yield
        self._histogram.labels(stage).observe(time.perf_counter() - start)

    def summary(self) -> dict[str, Latency]:
        """Each stage that was timed."""
        counts: dict[str, dict[float, float]] = {}
        sums: dict[str, float] = {}
        for metric in self._histogram.collect():
            for sample in metric.samples:
                stage = sample.labels.get("stage", "")
                if sample.name.endswith("_bucket"):
                    counts.setdefault(stage, {})[float(sample.labels["le"])] = sample.value
                elif sample.name.endswith("_sum"):
                    sums[stage] = sample.value
        return {stage: _summed(buckets, sums[stage]) for stage, buckets in counts.items()}


def _summed(buckets: dict[float, float], seconds: float) -> Latency:
    count = int(max(buckets.values()))
    return Latency(count, 1e3 * seconds / count, 1e3 * _quantile(buckets, 0.5), 1e3 * _quantile(buckets, 0.95))


def _quantile(buckets: dict[float, float], share: float) -> float:
    """By linear interpolation within the bucket, as Prometheus' ``histogram_quantile`` has it."""
    wanted = share * max(buckets.values())
    lower = below = 0.0
    for upper, reached in sorted(buckets.items()):
        if reached >= wanted:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (wanted - below) / max(reached - below, 1e-12)
        lower, below = upper, reached
    return lower

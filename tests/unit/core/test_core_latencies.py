"""Histograms of searches: counted by stage, summed up, and shown to Prometheus."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import generate_latest

from sbka_milvus import latencies
from sbka_milvus.latencies import Latencies


@pytest.fixture
def clock(monkeypatch):
    times: list[float] = [0.0]
    monkeypatch.setattr(latencies.time, "perf_counter", lambda: times[0])
    return times


def spend(measured: Latencies, clock: list[float], stage: str, seconds: float) -> None:
    with measured.timed(stage):
        clock[0] += seconds


def test_nothing_was_timed_yet():
    assert Latencies().summary() == {}


def test_quantiles_are_near_the_true_ones(clock):
    measured = Latencies()
    seconds = np.random.default_rng(0).lognormal(np.log(0.02), 0.7, 2000)
    for one in seconds:
        spend(measured, clock, "search", float(one))
    found = measured.summary()["search"]
    assert found.count == 2000
    assert found.mean_ms == pytest.approx(1e3 * seconds.mean(), rel=1e-6)
    assert found.p50_ms == pytest.approx(1e3 * np.median(seconds), rel=0.2)
    assert found.p95_ms == pytest.approx(1e3 * np.percentile(seconds, 95), rel=0.2)


def test_stages_are_told_apart_and_failures_are_not_counted(clock):
    measured = Latencies()
    spend(measured, clock, "encode", 0.01)
    spend(measured, clock, "total", 0.02)
    with pytest.raises(ValueError), measured.timed("encode"):
        raise ValueError
    assert {stage: one.count for stage, one in measured.summary().items()} == {"encode": 1, "total": 1}


def test_what_takes_longer_than_all_bounds_counts_as_the_last(clock):
    measured = Latencies()
    spend(measured, clock, "total", 1000.0)
    assert measured.summary()["total"].p50_ms == 30_000


def test_prometheus_reads_them(clock):
    measured = Latencies()
    spend(measured, clock, "search", 0.004)
    text = generate_latest(measured.registry).decode()
    assert 'sbka_search_seconds_count{stage="search"} 1.0' in text
    assert 'sbka_search_seconds_bucket{le="0.005",stage="search"} 1.0' in text
    assert generate_latest(Latencies().registry).decode().count("sbka_search_seconds_count") == 0  # each has its own

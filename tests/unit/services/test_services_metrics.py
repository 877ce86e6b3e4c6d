"""The metrics as Prometheus reads them."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sbka_milvus import telemetry
from sbka_milvus.errors import BrokerUnavailable, SettingsError
from workers.jobs import write_json
from workers.metrics import WorkersCollector, serve_metrics
from workers.vitals import WorkerState, WorkState, work_path

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

DEPTHS = {"train": 0, "embed": 7, "index": 1, "control": 0}


def scrape(collector: WorkersCollector) -> Samples:
    server = serve_metrics(collector, "127.0.0.1", 0)
    try:
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = time.time()
    busy = WorkerState("embed-1", "h1", 11, ("embed", "index"), "solo", now - 9.0, now, 5 << 20, True)
    work = WorkState(12, now, now, "j", "u", now, 640, 12.5, 4, 2, "StoreUnavailable: gone", now - 100.0, 9)
    write_json(tmp_path / "embed-1.json", asdict(busy))
    write_json(work_path(tmp_path, "embed-1"), asdict(work))
    lost = WorkerState("train", "h2", 21, ("train",), "prefork", now - 9999.0, now - 600.0)
    write_json(tmp_path / "train.json", asdict(lost))
    return tmp_path


def test_workers_and_queues_are_shown(folder: Path) -> None:
    found = scrape(WorkersCollector(folder, lambda: DEPTHS))
    embed, train = (("worker", "embed-1"),), (("worker", "train"),)
    assert found[("sbka_redis_up", ())] == 1
    for queue, depth in DEPTHS.items():
        assert found[("sbka_queue_depth", (("queue", queue),))] == depth
    assert (found[("sbka_worker_up", embed)], found[("sbka_worker_up", train)]) == (1, 0)
    assert found[("sbka_worker_images_total", embed)] == 640
    assert found[("sbka_worker_images_per_second", embed)] == 12.5
    assert found[("sbka_worker_units_done_total", embed)] == 4
    assert found[("sbka_worker_units_failed_total", embed)] == 2
    assert found[("sbka_worker_resident_memory_bytes", embed)] == 5 << 20
    assert found[("sbka_worker_heartbeat_timestamp_seconds", embed)] == pytest.approx(time.time(), abs=120)
    assert 100 <= found[("sbka_worker_last_error_age_seconds", embed)] < 220
    assert found[("sbka_worker_last_error_info", (("kind", "StoreUnavailable"), *embed))] == 1
    assert found[("sbka_worker_info", (("host", "h1"), ("pool", "solo"), ("queues", "embed,index"), *embed))] == 1
    # Nothing is claimed of work that nobody tells.
    assert ("sbka_worker_images_total", train) not in found


def test_every_metric_that_is_named_is_shown_and_no_other(folder: Path) -> None:
    shown = {name for name, _ in scrape(WorkersCollector(folder, lambda: DEPTHS))}
    named = {metric.name for metric in telemetry.METRICS}
    assert {name.removesuffix("_total").removesuffix("_info") for name in shown} == named
    labels = {metric.name: metric.labels for metric in telemetry.METRICS}
    for name, given in scrape(WorkersCollector(folder, lambda: DEPTHS)):
        assert {label for label, _ in given} == set(labels[name.removesuffix("_total").removesuffix("_info")])


def test_a_redis_that_is_down_is_a_figure_and_no_failure(folder: Path) -> None:
    def down() -> dict[str, int]:
        raise BrokerUnavailable("gone")

    found = scrape(WorkersCollector(folder, down))
    assert found[("sbka_redis_up", ())] == 0
    assert not any(name == "sbka_queue_depth" for name, _ in found)
    assert found[("sbka_worker_up", (("worker", "embed-1"),))] == 1


def test_a_worker_shows_itself_alone(folder: Path) -> None:
    found = scrape(WorkersCollector(folder, lambda: DEPTHS, only="train"))
    assert {labels for name, labels in found if name == "sbka_worker_up"} == {(("worker", "train"),)}


def test_a_port_that_is_taken_is_said(folder: Path) -> None:
    collector = WorkersCollector(folder, lambda: DEPTHS)
    server = serve_metrics(collector, "127.0.0.1", 0)
    try:
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1:\d+.*--metrics-port"):
            serve_metrics(collector, "127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        server.server_close()

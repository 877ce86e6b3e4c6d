"""What Prometheus is shown of background work: made at each scrape from the workers' files and from Redis."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from sbka_milvus import telemetry as names
from sbka_milvus.errors import BrokerUnavailable, SettingsError
from workers.roster import WorkerView, read_workers

MetricsServer = WSGIServer
_KIND = re.compile(r"[A-Za-z_]\w{0,63}(?=:|$)")


class WorkersCollector(Collector):
    """The workers of a workspace and the queues.

    Args:
        folder: ``<workspace>/workers``.
        depths: messages that wait, by queue; raises BrokerUnavailable where Redis does not answer.
        only: name of the one worker to show; none: all.
    """

    def __init__(self, folder: Path, depths: Callable[[], dict[str, int]], only: str | None = None) -> None:
        self._folder = folder
        self._depths = depths
        self._only = only

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield from self._queues()
        views = [view for view in read_workers(self._folder) if self._only in (None, view.state.name)]
        yield from _of_workers(views, time.time())

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry must not ask Redis when it is made."""
        return ()

    def _queues(self) -> Iterator[Metric]:
        up, depth = _gauge(names.REDIS_UP), _gauge(names.QUEUE_DEPTH)
        try:
            for queue, waiting in self._depths().items():
                depth.add_metric([queue], waiting)
            up.add_metric([], 1)
        except (BrokerUnavailable, SettingsError):
            up.add_metric([], 0)
        yield from (up, depth)


def serve_metrics(collector: Collector, host: str, port: int) -> MetricsServer:
    """Shows metrics at ``http://host:port/metrics`` from a thread; ``shutdown`` of what it returns ends that.

    Args:
        collector: makes them.
        host: address to listen on.
        port: 0 takes any; the server's ``server_port`` is the one taken.

    Raises:
        SettingsError: The port is taken or the address is not this machine's.
    """
    from prometheus_client import start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be shown at {host}:{port}: {error.strerror or error}.",
            "Give another --metrics-port, or change SBKA_WORKER__METRICS_HOST or SBKA_WORKER__METRICS_PORT.",
        ) from error
    return server


def _of_workers(views: Sequence[WorkerView], now: float) -> Iterator[Metric]:
    up, beat, memory = _gauge(names.WORKER_UP), _gauge(names.HEARTBEAT), _gauge(names.MEMORY)
    images, rate = _counter(names.IMAGES), _gauge(names.IMAGE_RATE)
    done, failed, age = _counter(names.UNITS_DONE), _counter(names.UNITS_FAILED), _gauge(names.ERROR_AGE)
    info, error = _info(names.WORKER_INFO), _info(names.ERROR_INFO)
    for view in views:
        state, work = view.state, view.work
        name = [state.name]
        up.add_metric(name, float(view.alive))
        beat.add_metric(name, state.beat)
        memory.add_metric(name, state.rss_bytes)
        info.add_metric(name, {"host": state.host, "queues": ",".join(state.queues), "pool": state.pool})
        if work is None:
            continue
        images.add_metric(name, work.images_total)
        rate.add_metric(name, work.images_per_s)
        done.add_metric(name, work.units_done)
        failed.add_metric(name, work.units_failed)
        if work.last_error_at:
            age.add_metric(name, max(0.0, now - work.last_error_at))
            error.add_metric(name, {"kind": error_kind(work.last_error)})
    yield from (up, info, beat, memory, images, rate, done, failed, age, error)


def error_kind(error: str) -> str:
    """The kind of an error for a label, of which there must not be many.

    >>> error_kind("StoreUnavailable: The store cannot be reached."), error_kind("no such file")
    ('StoreUnavailable', 'other')
    """
    found = _KIND.match(error)
    return found.group() if found else "other"


def _gauge(metric: names.Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)


def _counter(metric: names.Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)


def _info(metric: names.Metric) -> InfoMetricFamily:
    # The family adds its own labels to those of the value, so only what tells the series apart is named here.
    return InfoMetricFamily(metric.name, metric.help, labels=["worker"])

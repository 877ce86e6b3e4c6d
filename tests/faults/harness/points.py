"""Points of the real program at which it dies, stops or waits, each once. They hold in workers and are armed by tests.

A point is put around a function when its module is imported, so that a worker imports no more and no earlier than it
does without. Tests arm points by files, one folder a job, and learn from files which were reached.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_HELD_S = 60.0

FUNCTIONS = {
    "workers.tries": {"note_start": "start"},
    "workers.queueing": {"Sender._send": "send"},
    "sbka_milvus.pipelines.chunks": {"write_chunks": "chunks"},
    "sbka_milvus.encoders.encoder": {"BundleEncoder.encode_photos": "encode"},
    "pyarrow.parquet": {"write_table": "table"},
    "sbka_milvus.embeddings.shards": {"write_shard": "shard"},
    "sbka_milvus.embeddings.quarantine": {"write_quarantine": "quarantine"},
    "sbka_milvus.embeddings.versions": {"write_version_record": "record", "remove_version_record": "unrecord"},
    "sbka_milvus.embeddings.index_record": {"write_index_record": "index-record"},
    "sbka_milvus.embeddings.workspace": {"Gallery.save": "gallery"},
    "sbka_milvus.clusters.kmeans": {"fit_clusters": "clusters"},
    "sbka_milvus.clusters.joining": {"join_clusters": "join"},
    "sbka_milvus.pipelines.fits": {"write_fit": "fit"},
    "sbka_milvus.encoders.bundle": {"copy_bundle": "copy", "_write": "weights", "save_bundle": "bundle"},
    "sbka_milvus.pipelines.gate": {"measure_gate": "measure"},
    "sbka_milvus.pipelines.versions": {"record_gate": "gate-record", "serve_version": "serve"},
    "sbka_milvus.pipelines.reference": {"take_reference": "reference"},
    "sbka_milvus.training.checkpoint": {"Checkpoints._write": "checkpoint", "Checkpoints.remove": "uncheckpoint"},
    "sbka_milvus.training.trainer": {"Trainer._step": "step"},
    "torch.serialization": {"save": "save"},
}
"""By module: the functions that have a point before and one after them, and what the points are called."""
_NAMED = {
    # These are many things in one: the name says which.
    "sbka_milvus.store.session": {"MilvusSession.call": lambda _session, method, *_, **__: f"milvus-{method}"},
    "workers.jobs": {
        "JobFolder.write": lambda _job, kind, *_, **__: f"write-{kind}",
        "JobFolder.end": lambda _job, name, *_, **__: f"end-{name}",
    },
    "sbka_milvus.images.decoders": {"Decoders.decode": lambda _decoders, file: f"read-{Path(file.uri).stem}"},
}


Where = Callable[[tuple[Any, ...]], tuple[str, str]]
"""The job and the step in hand, from a function's arguments."""


class _Installed:
    folder: Path
    where: Where


def install(folder: Path, where: Where | None = None) -> None:
    """Puts points around the functions of modules that are imported from now on.

    Args:
        folder: where points are armed: ``<job>/armed/``.
        where: says which job and step is in hand; by default that of a worker.
    """
    _Installed.folder, _Installed.where = folder, staticmethod(where or _where)  # type: ignore[assignment]
    sys.meta_path.insert(0, _Finder())


def around(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function with a point before and one after it, of a module that was imported before."""
    return _wrap(function, functools.partial(_constant, name))


def reach(folder: Path, job: str, point: str) -> None:
    """Does what is armed for a point, at the pass that it is armed for."""
    place = folder / job
    if not (place / "armed").is_dir():
        return
    passed = _count(place / "passes" / point)
    if passed == 1:
        with (place / "trail").open("a") as trail:
            trail.write(f"{point}\n")
    for armed in sorted((place / "armed").glob(f"{point}~*.json")):
        fault = json.loads(armed.read_bytes())
        if passed < fault["at"]:
            continue
        fired = place / "fired" / armed.name
        if fault["kind"] == "always":
            fired.with_stem(f"{fired.stem}-{passed}").write_bytes(armed.read_bytes())
        else:
            try:
                armed.rename(fired)
            except FileNotFoundError:
                continue
        _act(fault["kind"], place / "released" / armed.name)


def _act(kind: str, released: Path) -> None:
    if kind in ("worker", "orphan"):
        os.kill(os.getppid(), signal.SIGKILL)
    if kind in ("worker", "kill", "always"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind in ("int", "term"):
        os.kill(os.getpid(), signal.SIGINT if kind == "int" else signal.SIGTERM)
    elif kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "hold":
        deadline = time.monotonic() + _HELD_S
        while not released.exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def _count(path: Path) -> int:
    """How often a point was passed by now, this pass included, in all processes."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    quota, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The points must count where the program cannot write.
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        os.write(handle, b".")
        return os.lseek(handle, 0, os.SEEK_CUR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (quota, most))
        os.close(handle)


def _wrap(function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        job, step = _Installed.where(args)
        point = f"{step}.{name(*args, **kwargs)}"
        reach(_Installed.folder, job, f"{point}.before")
        result = function(*args, **kwargs)
        reach(_Installed.folder, job, f"{point}.after")
        return result

    return wrapped


def _where(args: tuple[Any, ...]) -> tuple[str, str]:
    """The job and the step in hand; a job's own files say so themselves."""
    from workers.health import current_work
    from workers.jobs import JobFolder
    from workers.steps import step_of

    state = current_work().state()
    job = next((arg for arg in args[:2] if isinstance(arg, JobFolder)), None)
    if job is None:
        return state.job or "none", step_of(state.unit) or "none"
    unit = state.unit if state.job == job.id else ""
    return job.id, step_of(unit) or "none"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        functions = {name: functools.partial(_constant, point) for name, point in FUNCTIONS.get(fullname, {}).items()}
        functions |= _NAMED.get(fullname, {})
        if not functions:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, functions)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as it is, then puts the points in: before anybody can have taken a function from it."""

    def __init__(self, inner: Any, functions: dict[str, Callable[..., str]]) -> None:
        self._inner = inner
        self._functions = functions

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        for path, name in self._functions.items():
            *owners, last = path.split(".")
            owner: Any = functools.reduce(getattr, owners, module)
            setattr(owner, last, _wrap(getattr(owner, last), name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _constant(point: str, *_args: Any, **_kwargs: Any) -> str:
    return point

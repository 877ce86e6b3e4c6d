"""Asking for background work, from Python and from the shell: the wish is checked, written down, then handed out.

>>> from workers.submit import submit_ingest  # doctest: +SKIP
>>> job = submit_ingest(["photos/"], "gallery/", model="model/")  # doctest: +SKIP
>>> print(job.wait().state)  # doctest: +SKIP
done
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BrokerUnavailable, DatasetError, JobError, OutputError
from sbka_milvus.factory import prepare_gallery, require_photos
from sbka_milvus.images import absolute_sources, list_images, source_photos
from sbka_milvus.progress import Progress, SilentProgress
from sbka_milvus.settings import Settings, load_settings
from schemas.jobs import ClusterJob, GateRules, IngestJob, JobRequest, RetrainJob, TrainJob, UpgradeJob
from schemas.reports import JobStatus
from schemas.wire import parse, paths_of
from workers.broker import connect
from workers.jobs import JobFolder, create_job, job_root, list_jobs, new_job_id, open_job, open_jobs
from workers.reconcile import reconcile_job
from workers.status import JobWatcher

ENDED = ("done", "refused", "failed", "cancelled")
"""States that a job does not leave by itself."""


class Job:
    """A background job: what users hold of it.

    Args:
        folder: its place in the workspace.
        settings: by default those of the environment.
    """

    def __init__(self, folder: JobFolder, settings: Settings | None = None) -> None:
        self.folder = folder
        self.settings = settings or load_settings()
        self._watcher = JobWatcher(folder, self.settings.worker.lease_s)

    @property
    def id(self) -> str:
        """Its id."""
        return self.folder.id

    @classmethod
    def open(cls, name: str, settings: Settings | None = None) -> Job:
        """A job by its id, or by the beginning of it.

        Raises:
            JobError: There is none, or several.
        """
        settings = settings or load_settings()
        return cls(open_job(settings.workspace.resolve(), name), settings)

    @classmethod
    def list(cls, settings: Settings | None = None) -> Sequence[Job]:
        """All jobs of the workspace, oldest first."""
        settings = settings or load_settings()
        return [cls(folder, settings) for folder in list_jobs(settings.workspace.resolve())]

    def status(self) -> JobStatus:
        """How it is now.

        Raises:
            JobError: It was removed, or its record is damaged.
        """
        return self._watcher.status()

    def wait(
        self,
        timeout_s: float | None = None,
        on_status: Callable[[JobStatus], None] = lambda _: None,
        every_s: float = 0.5,
    ) -> JobStatus:
        """Waits until it ends.

        Args:
            timeout_s: seconds to wait at most; none: for as long as it takes.
            on_status: is shown every status on the way, the last one included.
            every_s: seconds between two looks.

        Raises:
            JobError: It did not end in time; it goes on all the same.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            on_status(status)
            if status.state in ENDED:
                return status
            if deadline is not None and time.monotonic() > deadline:
                raise JobError(
                    f"The job {self.id} has not ended within {timeout_s:g} s; it goes on.",
                    f"Watch it with `sbka jobs watch {self.id}`.",
                )
            time.sleep(every_s)

    def cancel(self) -> None:
        """Stops it: workers let go within seconds, and what is embedded or trained so far is kept.

        Raises:
            JobError: It has ended.
        """
        status = self.status()
        if status.state in ENDED:
            raise JobError(f"The job {self.id} has ended: {status.state}.", "There is nothing to cancel.")
        self.folder.end("cancel", {})

    def retry(self) -> None:
        """Has a failed or cancelled job go on where it was.

        Raises:
            JobError: It has not failed.
            BrokerUnavailable: There is no Redis.
        """
        status = self.status()
        if status.state not in ("failed", "cancelled"):
            raise JobError(
                f"The job {self.id} is {status.state}.", "Only a failed or cancelled job can be tried again."
            )
        connect(self.settings).close()
        self.folder.reopen()
        _hand_out(self.folder, self.settings)


def submit(request: JobRequest, settings: Settings | None = None, name: str | None = None) -> Job:
    """Writes a wish down and hands out its first work.

    Args:
        request: what is asked.
        settings: by default those of the environment.
        name: id of the job; by default a new one.

    Raises:
        BrokerUnavailable: There is no Redis: nothing was written down.
        JobError: Such a job is at work already.
        OutputError: The workspace cannot be written.
    """
    settings = settings or load_settings()
    connect(settings).close()
    folder = write_down(request, settings, name)
    _hand_out(folder, settings)
    return Job(folder, settings)


def write_down(request: JobRequest, settings: Settings, name: str | None = None) -> JobFolder:
    """Makes a job of a wish, of two that ask for the same work at once only one.

    Raises:
        JobError: Such a job is at work already.
        OutputError: The workspace cannot be written.
    """
    workspace = settings.workspace.resolve()
    try:
        job_root(workspace).mkdir(parents=True, exist_ok=True)
        lock = FileLock(job_root(workspace) / ".lock")
        lock.acquire()
    except OSError as error:
        raise OutputError(
            f"The workspace {workspace} cannot be written: {error.strerror or error}.",
            "Check free space and permissions, or name another folder with SBKA_WORKSPACE.",
        ) from error
    try:
        require_new_work(request, settings)
        return create_job(workspace, request, name)
    finally:
        lock.release()


def require_new_work(request: JobRequest, settings: Settings) -> None:
    """Refuses work that an open job is at already.

    Raises:
        JobError: Naming that job.
    """
    for other in open_jobs(settings.workspace.resolve()):
        try:
            asked = other.record.request
        except JobError:
            # Nobody can work on a job whose record is damaged: it must not bar the way to new work.
            continue
        if _same_work(asked, request):
            raise JobError(
                f"The job {other.id} is at this work already.", f"Watch it with `sbka jobs watch {other.id}`."
            )


def submit_ingest(
    sources: Sequence[str | Path],
    gallery: str | Path,
    *,
    model: str | Path | None = None,
    name: str | None = None,
    n_clusters: int = 0,
    matching: str | None = None,
    prune: bool = False,
    prune_all: bool = False,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Job:
    """Has photos taken into a gallery, which is made where there is none.

    Args:
        sources: files, folders, patterns, archives, manifests and addresses: see
            :func:`~sbka_milvus.images.sources.find.source_photos`.
        gallery: its folder; workers must find it, and the photos, under the same paths.
        model: bundle to embed with; by default the gallery's own, and for a new gallery the default backbone.
        name: of a new gallery in Milvus.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        matching: ``auto``, ``fused`` or ``linear``; none: by the workers' settings.
        prune: take out photos of these sources that are there no more.
        prune_all: also where more than half of what a source held would go.
        settings: by default those of the environment.
        progress: what shows the making of a new gallery.

    Raises:
        ImageError: A source does not exist or matches nothing.
        SbkaError: The gallery or its model cannot be made or used; or any of those of :func:`submit`.
    """
    settings = settings or load_settings()
    connect(settings).close()
    source_photos(list(sources))
    made = prepare_gallery(
        Path(gallery), None if model is None else Path(model), name, settings, progress or SilentProgress()
    )
    named = [one for source in sources for one in absolute_sources(source)]
    request = {
        "sources": named,
        "gallery": _absolute(made.root),
        "n_clusters": n_clusters,
        "matching": matching,
        "prune": prune or prune_all,
        "prune_all": prune_all,
    }
    return submit(parse(IngestJob, request, "The ingest"), settings)


def submit_train(values: dict[str, Any], settings: Settings | None = None) -> Job:
    """Has a model trained.

    Args:
        values: as :class:`~schemas.jobs.TrainJob` has them; paths may be relative.
        settings: by default those of the environment.

    Raises:
        JobError: A value does not fit; names it.
        SbkaError: Any of those of :func:`submit`.
    """
    from workers.training import require_trainable

    absolute = {name: _absolute(values[name]) for name in paths_of(TrainJob) if values.get(name) is not None}
    wish = parse(TrainJob, values | absolute, "The training")
    settings = settings or load_settings()
    require_trainable(wish, settings)
    return submit(wish, settings)


def submit_cluster(
    gallery: str | Path,
    *,
    n_clusters: int = 0,
    matching: str | None = None,
    seed: int = 0,
    settings: Settings | None = None,
) -> Job:
    """Has a gallery clustered anew, behind its alias.

    Args:
        gallery: its folder.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        matching: ``auto``, ``fused`` or ``linear``; none: by the workers' settings.
        seed: of the clustering.
        settings: by default those of the environment.

    Raises:
        GalleryError: The folder is no gallery, or holds no photos.
        SbkaError: Any of those of :func:`submit`.
    """
    require_photos(Path(gallery))
    request = {"gallery": _absolute(gallery), "n_clusters": n_clusters, "matching": matching, "seed": seed}
    return submit(parse(ClusterJob, request, "The clustering"), settings)


def submit_upgrade(
    gallery: str | Path,
    model: str | Path,
    gate: dict[str, Any] | None = None,
    *,
    n_clusters: int = 0,
    matching: str | None = None,
    settings: Settings | None = None,
) -> Job:
    """Has a gallery embedded with another model, and served with it if the gate lets it pass.

    Args:
        gallery: its folder.
        model: the new bundle.
        gate: as :class:`~schemas.jobs.GateRules` has it; paths may be relative.
        n_clusters: wanted clusters; 0: chosen from the gallery.
        matching: ``auto``, ``fused`` or ``linear``; none: by the workers' settings.
        settings: by default those of the environment.

    Raises:
        SbkaError: Any of those of :func:`upgrade_request` and :func:`submit`.
    """
    request = upgrade_request(gallery, model, gate or {}, n_clusters=n_clusters, matching=matching)
    return submit(request, settings)


def upgrade_request(
    gallery: str | Path,
    model: str | Path,
    gate: dict[str, Any],
    *,
    n_clusters: int = 0,
    matching: str | None = None,
) -> UpgradeJob:
    """The wish of an upgrade, checked against what is there: see :func:`submit_upgrade`.

    Raises:
        GalleryError: The folder is no gallery.
        BundleError: There is no such model.
        DatasetError: The sketches to measure on are not there.
        JobError: A value does not fit, or the gallery has that model already.
    """
    from sbka_milvus.encoders.manifest import read_manifest

    opened = Gallery.open(Path(gallery))
    if read_manifest(Path(model)).fingerprint == opened.fingerprint:
        raise JobError(f"The gallery {opened.root} is embedded with this model already.", "Name another model.")
    rules = gate_rules(gate)
    require_measurable(rules)
    request = {
        "gallery": _absolute(gallery),
        "model": _absolute(model),
        "gate": rules,
        "n_clusters": n_clusters,
        "matching": matching,
    }
    return parse(UpgradeJob, request, "The upgrade")


def submit_retrain(gallery: str | Path, reason: str, settings: Settings | None = None) -> Job:
    """Has a gallery's model trained again by the gallery's policy, and served if the gate lets it pass.

    Raises:
        GalleryError: The folder is no gallery, or has no policy.
        SbkaError: Any of those of :func:`submit`.
    """
    from sbka_milvus.pipelines.retraining import RetrainingPolicy, begin_retraining, settle_retrainings
    from sbka_milvus.pipelines.retraining.data import check_data
    from workers.retraining import how_it_ended, retrain_job
    from workers.training import require_trainable

    settings = settings or load_settings()
    connect(settings).close()
    opened = Gallery.open(Path(gallery))
    # Beat does it for galleries that are retrained by themselves; here one that failed must not bar the way.
    settle_retrainings(opened, lambda job: how_it_ended(settings.workspace.resolve(), job), datetime.now(UTC))
    policy = RetrainingPolicy.load(opened.root)
    name = new_job_id("retrain")
    model = job_root(settings.workspace.resolve()) / name / "model"
    request = retrain_job(opened, policy, reason, model)
    require_new_work(request, settings)
    require_trainable(request.train, settings)
    check_data(policy)
    # Before the job: one that never came to be is settled, while one without a record would be started twice.
    begin_retraining(opened, policy, name, reason, datetime.now(UTC))
    return submit(request, settings, name)


def gate_rules(values: dict[str, Any]) -> GateRules:
    """Rules of a gate with absolute paths.

    Raises:
        JobError: A value does not fit.
    """
    absolute = dict(values)
    if absolute.get("held_out") is not None:
        absolute["held_out"] = _absolute(absolute["held_out"])
    absolute["queries"] = [_absolute(query) for query in absolute.get("queries", ())]
    return parse(GateRules, absolute, "The gate")


def require_measurable(rules: GateRules) -> None:
    """Refuses a gate without its sketches now: it would only be noticed when everything is embedded.

    Raises:
        DatasetError: The folder of labelled sketches is missing or empty, or a query is not there.
    """
    if rules.held_out is not None:
        list_images(Path(rules.held_out))
    for query in rules.queries:
        if not Path(query).is_file():
            raise DatasetError(f"The sketch {query} does not exist.", "Check the path.")


def _absolute(path: str | Path) -> str:
    # Not resolved: photos are named by the links as the user wrote them.
    return os.path.abspath(path)  # noqa: PTH100


def _same_work(one: JobRequest, other: JobRequest) -> bool:
    if isinstance(one, IngestJob) or isinstance(other, IngestJob):
        return one == other
    if isinstance(one, TrainJob) or isinstance(other, TrainJob):
        return isinstance(one, TrainJob) and isinstance(other, TrainJob) and one.out == other.out
    if isinstance(one, ClusterJob) or isinstance(other, ClusterJob):
        return isinstance(one, ClusterJob) and isinstance(other, ClusterJob) and one.gallery == other.gallery
    # An upgrade decides which model a gallery has: one at a time.
    return _gallery(one) == _gallery(other)


def _gallery(request: UpgradeJob | RetrainJob) -> str:
    return request.gallery


def _hand_out(folder: JobFolder, settings: Settings) -> None:
    try:
        reconcile_job(settings, folder)
    except BrokerUnavailable:
        # It was there a moment ago. The wish is written down: it is handed out when Redis is back.
        return

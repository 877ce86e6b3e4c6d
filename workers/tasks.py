"""The tasks: each checks its message and hands it to the runner.

Time limits are for units that hang; one that is stopped by its limit counts as a failure and is tried again. They hold
in the prefork pool only: the solo pool has nobody who could stop it.
"""

from __future__ import annotations

from typing import Any

from schemas.tasks import UnitMessage
from schemas.wire import parse
from workers.app import app
from workers.context import current_context
from workers.reconcile import reconcile_all
from workers.runner import run_unit

_MINUTE = 60
_HOUR = 60 * _MINUTE


# A walk over ten million files on a slow network drive takes an hour or two.
@app.task(name="sbka.plan", soft_time_limit=4 * _HOUR, time_limit=4 * _HOUR + _MINUTE)
def plan(**message: Any) -> None:
    """Lists the photos that are new or changed."""
    run_unit(parse(UnitMessage, message, "The message"), current_context())


# A chunk takes seconds to minutes; longer means a drive that does not answer.
@app.task(name="sbka.embed", soft_time_limit=_HOUR, time_limit=_HOUR + _MINUTE)
def embed(**message: Any) -> None:
    """Embeds one chunk of photos."""
    run_unit(parse(UnitMessage, message, "The message"), current_context())


# Some hundred sketches through two models, and as many searches of the whole gallery.
@app.task(name="sbka.gate", soft_time_limit=2 * _HOUR, time_limit=2 * _HOUR + _MINUTE)
def gate(**message: Any) -> None:
    """Measures a new version against the one that is served."""
    run_unit(parse(UnitMessage, message, "The message"), current_context())


# Ten million rows at some thousand a second, and their clustering.
@app.task(name="sbka.index", soft_time_limit=6 * _HOUR, time_limit=6 * _HOUR + _MINUTE)
def index(**message: Any) -> None:
    """Builds, serves or switches a version."""
    run_unit(parse(UnitMessage, message, "The message"), current_context())


# A training goes on from its checkpoint, so that a limit costs minutes; it frees a worker that hangs.
@app.task(name="sbka.train", soft_time_limit=24 * _HOUR, time_limit=24 * _HOUR + 5 * _MINUTE)
def train(**message: Any) -> None:
    """Trains a model."""
    run_unit(parse(UnitMessage, message, "The message"), current_context())


# Reads small files.
@app.task(name="sbka.reconcile", soft_time_limit=5 * _MINUTE, time_limit=6 * _MINUTE)
def reconcile() -> None:
    """Queues what is missing of all jobs."""
    reconcile_all(current_context().settings)


# Reads the shards of the galleries that ask for drift.
@app.task(name="sbka.retraining", soft_time_limit=30 * _MINUTE, time_limit=31 * _MINUTE)
def retraining() -> None:
    """Starts the retrainings that are due."""
    # Not before the fork: it brings pyarrow and its threads.
    from workers.due import start_due_retrainings

    start_due_retrainings(current_context().settings)

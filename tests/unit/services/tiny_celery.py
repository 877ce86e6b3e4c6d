"""A worker and a beat of the real configuration with one tiny task: ``tiny_celery.py worker|beat FOLDER POOL``.

The task leaves a mark in the folder.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[3]


def main(role: str, folder: Path, pool: str) -> int:
    """Runs the worker or the beat."""
    from sbka_milvus.settings import load_settings
    from workers.app import configure
    from workers.broker import broker_url
    from workers.health import current_work
    from workers.serving import WorkerOptions, run_beat, run_worker

    settings = load_settings()
    app = configure(settings, broker_url(settings))
    app.conf.update(
        include=[],
        beat_schedule={
            "mark": {
                "task": "tiny.mark",
                "schedule": timedelta(seconds=0.5),
                "options": {"queue": "control", "expires": 5.0},
            }
        },
    )

    @app.task(name="tiny.mark")
    def mark() -> None:
        work = current_work()
        work.begin("job", "mark")
        work.images(3)
        (folder / uuid4().hex).touch()
        work.end()

    if role == "beat":
        run_beat(app, settings)
        return 0
    return run_worker(app, settings, WorkerOptions(("control",), "tiny", "solo" if pool == "solo" else "prefork"))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))

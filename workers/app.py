"""The Celery application: what carries messages, which queue each task goes to, and how long it may take."""

from __future__ import annotations

from datetime import timedelta

from celery import Celery

from sbka_milvus.settings import Settings

app = Celery("sbka", include=["workers.tasks"])
app.conf.update(
    # Messages are two short texts; nothing that could be executed is ever read.
    task_serializer="json",
    accept_content=["json"],
    # Results are files in the workspace: Redis may forget everything.
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    # A message stays until its unit is done; that of a worker that died goes to another at once.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # A long unit must not hold back the messages behind it.
    worker_prefetch_multiplier=1,
    task_default_queue="control",
    task_create_missing_queues=True,
    task_routes={
        "sbka.reconcile": {"queue": "control"},
        "sbka.retraining": {"queue": "control"},
        "sbka.plan": {"queue": "control"},
        "sbka.embed": {"queue": "embed"},
        "sbka.gate": {"queue": "embed"},
        "sbka.index": {"queue": "index"},
        "sbka.train": {"queue": "train"},
    },
    # Redis that went away comes back: keep trying for ever, and do not throw away the unit in hand.
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # Reconcile sends again what could not be sent.
    task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
    enable_utc=True,
)


def configure(settings: Settings, broker_url: str) -> Celery:
    """Points the application at a broker.

    Args:
        settings: of this process.
        broker_url: of Redis, password and all.
    """
    broker = settings.broker
    app.conf.update(
        broker_url=broker_url,
        broker_transport_options={
            # Only matters where a whole worker died with a message in hand; reconcile is usually sooner.
            "visibility_timeout": broker.visibility_timeout_s,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "retry_on_timeout": True,
        },
        beat_schedule={
            "reconcile": {
                "task": "sbka.reconcile",
                "schedule": timedelta(seconds=broker.reconcile_s),
                # A look that comes late is worth nothing: the next one sees the same.
                "options": {"expires": max(1.0, broker.reconcile_s), "queue": "control"},
            },
            "retraining": {
                "task": "sbka.retraining",
                "schedule": timedelta(seconds=max(60.0, broker.reconcile_s)),
                "options": {"expires": 60.0, "queue": "control"},
            },
        },
    )
    return app

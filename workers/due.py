"""Starting the retrainings whose time has come."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import BrokerUnavailable, SbkaError
from sbka_milvus.pipelines.retraining import outlook_of, registered, settle_retrainings
from sbka_milvus.settings import Settings
from workers.retraining import how_it_ended
from workers.submit import submit_retrain

_log = logging.getLogger(__name__)


def start_due_retrainings(settings: Settings) -> list[str]:
    """Starts the retrainings whose time has come; what is wrong with one gallery keeps no other waiting.

    Returns:
        The ids of the jobs.
    """
    started = []
    now = datetime.now(UTC)
    workspace = settings.workspace.resolve()
    for root in registered(workspace):
        try:
            gallery = Gallery.open(root)
            settle_retrainings(gallery, lambda job: how_it_ended(workspace, job), now)
            reason = outlook_of(gallery, now).reason
            if reason is not None:
                started.append(submit_retrain(root, str(reason), settings).id)
        except BrokerUnavailable as error:
            _log.warning("%s", error)
            break
        except SbkaError as error:
            _log.warning("The gallery %s is not retrained: %s", root, error)
    return started

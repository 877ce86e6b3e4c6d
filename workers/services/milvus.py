"""The Milvus of ``sbka up``: Milvus Lite as a server, which several processes can share."""

from __future__ import annotations

import signal
from pathlib import Path

from sbka_milvus.errors import SettingsError, StoreError, StoreUnavailable
from sbka_milvus.settings import MilvusSettings
from sbka_milvus.store.lite_server import lite_command
from workers.services.ports import HOST
from workers.services.processes import ProcessSpec
from workers.services.starting import Server, start_server
from workers.services.supervisor import Supervisor

NAME = "milvus"

# It reads all its collections when it starts.
_TIMEOUT_S = 120.0
_GRACE_S = 15.0
_CALL_S = 5.0
_ANY_GALLERY = "sbka_ready"


def start_milvus(supervisor: Supervisor, workspace: Path) -> tuple[str, int]:
    """Starts Milvus under a supervisor, with the galleries of its last run.

    Args:
        supervisor: keeps it running.
        workspace: its files go into ``milvus`` there.

    Returns:
        Its address and its port.

    Raises:
        StoreUnavailable: It does not start.
    """
    folder = (workspace / "milvus").resolve()

    def spec(port: int) -> ProcessSpec:
        # Its own default is to listen on all addresses, with no password.
        command = lite_command(folder, HOST, port)
        # It closes its files on Ctrl-C, and on nothing else.
        return ProcessSpec(NAME, command, {"PYTHONUNBUFFERED": "1"}, grace_s=_GRACE_S, stop_signal=signal.SIGINT)

    def answers(port: int) -> bool:
        try:
            _ask(_url(port))
        except StoreError:
            return False
        return True

    port = start_server(Server(NAME, spec, answers, _TIMEOUT_S, StoreUnavailable), supervisor)
    return _url(port), port


def check_milvus(milvus: MilvusSettings) -> str:
    """The address of the Milvus that settings name, after it has answered.

    Raises:
        SettingsError: The settings name a directory, which only one process at a time can use.
        StoreError: It does not answer, or refuses.
    """
    if not milvus.uri.lower().startswith(("http://", "https://")):
        raise SettingsError(
            f"SBKA_MILVUS__URI is the directory {milvus.uri}, which several workers cannot share.",
            "Name a server there, or leave it empty: `sbka up` starts one.",
        )
    _ask(milvus.uri, milvus)
    return milvus.uri


def _ask(uri: str, milvus: MilvusSettings | None = None) -> None:
    from sbka_milvus.factory import milvus_tls
    from sbka_milvus.store import MilvusGalleryStore

    milvus = milvus or MilvusSettings()
    token, database = milvus.token.get_secret_value(), milvus.db_name
    with MilvusGalleryStore(uri, token=token, db_name=database, timeout_s=_CALL_S, tls=milvus_tls(milvus)) as store:
        store.versions(_ANY_GALLERY)


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"

"""Milvus servers for tests: the real one of PyPI's ``milvus``, and the local server of Milvus Lite."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from sbka_milvus.store import MilvusGalleryStore, Tls

PACKAGE = "milvus==2.3.5"
HOST = "127.0.0.1"
HEALTH_PORT = 9091
FIXED_PORTS = (2379, 2380, HEALTH_PORT)
"""Of its etcd and its health, which it takes whatever it is told: only one runs on a machine."""

CERTIFICATE_NAME = "milvus.test"
TOKEN = "root:Milvus"
DATABASE = "pictures"

_OWNED = Path(tempfile.gettempdir()) / "sbka-milvus-server.json"
"""Says which process is the server of tests on this machine."""

_INSTALL_S = 180.0
_STARTS_S = (6.0, 8.0, 10.0, 15.0, 20.0, 40.0)
"""How long each start may take: one in two was seen to stop halfway, for good, and the others took three seconds."""

_LITE_START_S = 60.0


class NoServer(Exception):
    """There cannot be a server here, for the reason that it tells."""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        uri: its address.
        token: what it asks for.
        db_name: a database of its own.
        tls: whom to trust there.
    """

    uri: str
    token: str = ""
    db_name: str = ""
    tls: Tls = field(default_factory=Tls)

    def open(self, **options: Any) -> MilvusGalleryStore:
        """A store in it."""
        told = {"token": self.token, "db_name": self.db_name, "tls": self.tls, "timeout_s": 30.0}
        return MilvusGalleryStore(self.uri, **(told | options))

    def clear(self) -> None:
        """Drops all that is in its database."""
        with self.open() as store:
            call = store._session.call
            for name in call("list_collections"):
                for alias in call("describe_collection", name)["aliases"]:
                    call("drop_alias", alias)
                call("drop_collection", name)


@contextmanager
def real_server(environment: Path, folder: Path) -> Iterator[Server]:
    """A Milvus server with a token, a database and, where there is ``openssl``, a certificate of its own.

    Args:
        environment: folder of the virtual environment that it is installed in; made where there is none.
        folder: an empty folder for its data.

    Raises:
        NoServer: It cannot be installed or started here, or another one runs.
    """
    lock = FileLock(_OWNED.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise NoServer("another Milvus server of tests runs on this machine, and there can be but one") from error
    try:
        program = _installed(environment)
        _end_orphan()
        for port in FIXED_PORTS:
            if not _is_free(port):
                raise NoServer(f"port {port}, which a Milvus server needs, is taken")
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        arguments = ["--authorization-enabled", "true"]
        tls = Tls()
        if make_certificate(certificate, key):
            arguments += ["--tls-mode", "1", "--server-pem-path", str(certificate), "--server-key-path", str(key)]
            tls = Tls(ca_file=str(certificate), server_name=CERTIFICATE_NAME)
        # It unpacks itself beside its data, for many seconds, unless that was done before.
        (environment / "unpacked").mkdir(exist_ok=True)
        with _started([str(program), *arguments], environment / "unpacked", folder, tls) as server:
            yield server
    finally:
        lock.release()


@contextmanager
def _started(program: list[str], unpacked: Path, folder: Path, tls: Tls) -> Iterator[Server]:
    """The server itself, started anew where its start does not come to an end."""
    for number, seconds in enumerate(_STARTS_S, 1):
        data, log, port = folder / f"data-{number}", folder / f"milvus-{number}.log", free_port()
        data.mkdir()
        (data / "bin").symlink_to(unpacked)
        uri = f"{'https' if tls.ca_file else 'http'}://{HOST}:{port}"
        with ExitStack() as running:
            command = [*program, "--data", str(data), "--proxy-port", str(port)]
            process = running.enter_context(_running(command, log, folder))
            _OWNED.write_text(json.dumps([process.pid, psutil.Process(process.pid).create_time()]))
            try:
                _until(_is_healthy, seconds, log)
                # It is healthy before its users and databases are there.
                _until(partial(_make_database, uri, tls), seconds, log)
            except NoServer:
                if number == len(_STARTS_S):
                    raise
                continue
            yield Server(uri, TOKEN, DATABASE, tls)
            return


@contextmanager
def lite_server(folder: Path) -> Iterator[Server]:
    """The local server of Milvus Lite, which several processes may use.

    Raises:
        NoServer: It does not start.
    """
    port = free_port()
    program = Path(sys.executable).with_name("milvus-lite")
    command = [str(program), "server", "--data-dir", str(folder / "lite"), "--host", HOST, "--port", str(port)]
    with _running(command, folder / "lite.log", folder):
        _until(lambda: not _is_free(port), _LITE_START_S, folder / "lite.log")
        yield Server(f"http://{HOST}:{port}")


def free_port() -> int:
    """A port that nobody listens at now."""
    with closing(socket.socket()) as listening:
        listening.bind((HOST, 0))
        return int(listening.getsockname()[1])


def make_certificate(certificate: Path, key: Path) -> bool:
    """A certificate that signs itself, of the name :data:`CERTIFICATE_NAME`; whether there is a program to make it."""
    program = shutil.which("openssl")
    if program is None:
        return False
    command = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    named = ["-subj", f"/CN={CERTIFICATE_NAME}", "-addext", f"subjectAltName=DNS:{CERTIFICATE_NAME}"]
    written = ["-keyout", str(key), "-out", str(certificate)]
    return subprocess.run([*command, *named, *written], capture_output=True, check=False, timeout=60).returncode == 0


def _installed(environment: Path) -> Path:
    program = environment / "bin" / "milvus-server"
    environment.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(environment.with_suffix(".lock")):
        if program.exists():
            return program
        shutil.rmtree(environment, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(environment)])
        try:
            _run([str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", PACKAGE])
        except NoServer:
            shutil.rmtree(environment, ignore_errors=True)
            raise
        return program


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=_INSTALL_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise NoServer(f"PyPI's {PACKAGE} cannot be installed: {said[-1] if said else error}") from error


@contextmanager
def _running(command: list[str], log: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            _end(psutil.Process(process.pid))
        process.wait(timeout=30)


def _end(process: psutil.Process) -> None:
    # Ending the wrapper leaves the server running, and asking that to end takes a while.
    ended = [*process.children(recursive=True), process]
    for one in ended:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(ended, timeout=30)


def _end_orphan() -> None:
    """Ends the server of tests that were killed: whoever holds the lock is the only one who has any."""
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        pid, created = json.loads(_OWNED.read_text())
        process = psutil.Process(pid)
        if process.create_time() == created:
            _end(process)


def _until(true: Callable[[], bool], seconds: float, log: Path) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            said = log.read_text(errors="replace").strip().splitlines()
            raise NoServer(f"it did not start within {seconds:.0f} s: {said[-1] if said else 'it said nothing'}")
        time.sleep(0.1)


def _is_healthy() -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{HEALTH_PORT}/healthz", timeout=2) as answer:
            return bool(answer.read().strip() == b"OK")
    except (OSError, urllib.error.URLError):
        return False


def _make_database(uri: str, tls: Tls) -> bool:
    from sbka_milvus.errors import StoreError
    from sbka_milvus.store.session import MilvusSession

    try:
        session = MilvusSession(uri, TOKEN, "", 10.0, tls)
    except StoreError:
        return False
    with closing(session):
        if DATABASE not in session.call("list_databases"):
            session.call("create_database", DATABASE)
        return True


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as asking:
        asking.settimeout(1)
        return asking.connect_ex((HOST, port)) != 0

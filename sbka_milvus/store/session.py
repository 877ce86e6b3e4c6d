"""One connection to Milvus: every call goes through it, with a timeout and with its errors translated."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from threading import RLock
from typing import Any, Protocol
from urllib.parse import urlsplit

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from sbka_milvus.errors import InvalidValue, StoreError
from sbka_milvus.store import lite
from sbka_milvus.store.faults import is_not_loaded, quieten, store_faults
from sbka_milvus.store.refusals import closed_store
from sbka_milvus.store.tls import NO_TLS, Tls

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_LITE = "milvus_lite"
"""How the version of Milvus Lite begins."""

_NO_PINGS = 2**31 - 1
LONG_TIMEOUT_S = 600.0
"""For loading: a server was seen to take 77 s to load 256 partitions. A store that is gone is noticed long before."""


class Session(Protocol):
    """What the parts of the store need of a connection."""

    @property
    def place(self) -> str:
        """The server's address or the directory, for messages."""

    @property
    def is_lite(self) -> bool:
        """Whether Milvus runs inside this process, which then is the only one that uses the directory."""

    @property
    def is_server(self) -> bool:
        """Whether it is a Milvus server, and no Milvus Lite, neither embedded nor behind its own server."""

    @property
    def defining(self) -> AbstractContextManager[Any]:
        """Held while versions are made, served or dropped."""

    @property
    def writing(self) -> AbstractContextManager[Any]:
        """Held while rows are written."""

    def call(self, method: str, /, *args: Any, long: bool = False, **kwargs: Any) -> Any:
        """Calls a method of ``MilvusClient``; ``long`` gives it minutes instead of the usual timeout.

        Raises:
            StoreError: Or one of its kinds, for whatever pymilvus raises.
        """


class MilvusSession:
    """A connection to a Milvus server, or to Milvus Lite in a directory.

    Args:
        uri: ``http://`` or ``https://`` of a server, else a directory, which is created where there is none.
        token: of the server, ``user:password`` or an API key.
        db_name: the server's database; empty for the default one.
        timeout_s: the longest one call may take, in seconds. pymilvus would try for minutes.
        tls: whom to trust at an ``https://`` address.

    Raises:
        InvalidValue: ``uri``, ``timeout_s`` or ``tls`` cannot be used.
        StoreUnavailable: The server cannot be reached, or another process has the directory open.
        StoreError: The server or directory refuses for another reason.
    """

    def __init__(self, uri: str, token: str, db_name: str, timeout_s: float, tls: Tls = NO_TLS) -> None:
        if not timeout_s > 0:
            raise InvalidValue(f"timeout_s must be above 0, not {timeout_s}.")
        self._timeout_s = timeout_s
        self._client: Any = None
        self._directory: lite.LiteDirectory | None = None
        self._lock = RLock()
        quieten()
        options: dict[str, Any] = {}
        if is_server(uri):
            options = tls.options(uri)
            self._place, address = without_user(uri), uri
        else:
            self._directory = lite.acquire(uri)
            self._place, address = str(self._directory.path), self._directory.address
        if self._directory is not None or urlsplit(uri).hostname in _THIS_MACHINE:
            # A proxy of the environment does not lead back here.
            options["grpc_options"] = {"grpc.enable_http_proxy": 0}
        if self._directory is not None:
            # Its server takes pymilvus's ping every 10 s for an attack, and breaks off whatever takes half a minute.
            options["grpc_options"] |= {"grpc.keepalive_time_ms": _NO_PINGS}
        try:
            with store_faults(self.place):
                # Dedicated: a shared connection would outlive the store, and with it the address of a closed engine.
                self._client = MilvusClient(
                    address, token=token, db_name=db_name, timeout=timeout_s, dedicated=True, **options
                )
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """The server's address or the directory, for messages."""
        return self._place

    @property
    def is_lite(self) -> bool:
        """Whether Milvus runs inside this process."""
        return self._directory is not None

    @cached_property
    def is_server(self) -> bool:
        """Whether it is a Milvus server, and no Milvus Lite, neither embedded nor behind its own server."""
        return not self.is_lite and not str(self.call("get_server_version")).startswith(_LITE)

    @property
    def defining(self) -> AbstractContextManager[Any]:
        """Held while versions are made, served or dropped."""
        return self._directory.writing if self._directory else self._lock

    @property
    def writing(self) -> AbstractContextManager[Any]:
        """Held while rows are written: by one thread on Milvus Lite, by any number on a server."""
        return self._directory.writing if self._directory else nullcontext()

    def call(self, method: str, /, *args: Any, long: bool = False, **kwargs: Any) -> Any:
        """Calls a method of ``MilvusClient``.

        Raises:
            StoreError: The session is closed, or whatever pymilvus raises, translated.
        """
        client = self._client
        if client is None:
            raise closed_store()
        # An embedded engine cannot be out of reach, and one that compacts was seen to hold an insert up for 30 s.
        timeout = max(self._timeout_s, LONG_TIMEOUT_S) if long or self.is_lite else self._timeout_s
        with store_faults(self.place):
            try:
                return getattr(client, method)(*args, timeout=timeout, **kwargs)
            except MilvusException as error:
                if not (args and is_not_loaded(error)):
                    raise
            # A server of Milvus Lite forgets what was loaded when it is restarted.
            client.load_collection(args[0], timeout=LONG_TIMEOUT_S)
            return getattr(client, method)(*args, timeout=timeout, **kwargs)

    def close(self) -> None:
        """Gives back the connection and, with the last session of a directory, its lock."""
        with self._lock:
            client, self._client = self._client, None
            directory, self._directory = self._directory, None
        try:
            if client is not None:
                with suppress(StoreError), store_faults(self.place):
                    client.close()
        finally:
            if directory is not None:
                lite.release(directory)


def without_user(uri: str) -> str:
    """An address as messages may show it.

    >>> without_user("https://root:secret@milvus:19530/pets")
    'https://milvus:19530/pets'
    """
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def is_server(uri: str) -> bool:
    """Whether a URI names a server; otherwise it is a directory.

    Raises:
        InvalidValue: It is empty or of a scheme that is neither.

    >>> is_server("http://milvus:19530"), is_server("gallery/milvus")
    (True, False)
    """
    if uri.lower().startswith(("http://", "https://")):
        return True
    if not uri.strip() or "://" in uri:
        raise InvalidValue(
            f"{uri!r} names no Milvus.", "Use a directory, or the http:// or https:// address of a server."
        )
    return False

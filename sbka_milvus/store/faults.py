"""What pymilvus and gRPC raise, said in the words of :mod:`sbka_milvus.errors`. Nothing else translates them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import grpc  # type: ignore[import-untyped]
from pymilvus.exceptions import MilvusException

from sbka_milvus.errors import CollectionMissing, StoreError, StoreUnavailable

# Milvus' error codes: pkg/util/merr/errors.go of its source.
_NOT_FOUND = {100, 1600}  # collection, alias
_OLD_COLLECTION_NOT_FOUND = 4
_NO_DATABASE = 800
_NOT_LOADED = 101
_BUSY = {2, 8}  # service unavailable (pymilvus: connection failed), rate limit
_BUSY_WORDS = ("retry timeout", "retry run out", "not ready", "fail connecting", "closed channel", "wait for loading")

_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")

_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

_REMEDIES: dict[object, str] = {
    **dict.fromkeys(_REFUSED, "Check the token and its rights."),
    _NO_DATABASE: "Create the database, or name another one.",
    _NOT_LOADED: "Somebody released the collection: open the store again to load it.",
}

_calling: ContextVar[bool] = ContextVar("sbka_milvus_calling", default=False)


@contextmanager
def store_faults(place: str) -> Iterator[None]:
    """Turns what pymilvus raises inside into an error of ours, and keeps its log of the same error from the console.

    Args:
        place: the URI or directory of the store, for the message.

    Raises:
        StoreUnavailable: It cannot be reached now.
        CollectionMissing: It has no such collection or alias.
        StoreError: It refused for another reason.
    """
    token = _calling.set(True)
    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise translate(error, place) from error
    finally:
        _calling.reset(token)


def translate(error: Exception, place: str) -> StoreError:
    """The error of ours that stands for one of pymilvus or gRPC.

    >>> translate(MilvusException(100, "collection not found"), "gallery/")
    CollectionMissing('The store gallery/ answers: collection not found.', 'Check the name of the gallery.')
    """
    # Of a connection that fails pymilvus tells but that; why, stands in gRPC's error behind it.
    if isinstance(error.__cause__, grpc.RpcError) and _code(error) in _BUSY:
        error = error.__cause__
    code, text = _code(error), _text(error)
    answer = f"The store {place} answers: {text}."
    if any(words in text for words in _UNTRUSTED):
        return StoreError(
            f"The store {place} has a certificate that is not trusted: {text}.",
            "Name the file of the authority that signed it in SBKA_MILVUS__CA_FILE, and the name that it is made out "
            "to, where that is not the address's, in SBKA_MILVUS__SERVER_NAME.",
        )
    if _is_busy(error, code, text):
        return StoreUnavailable(
            f"The store {place} cannot be reached: {text}.", "Check that it runs and is reachable, then try again."
        )
    if code in _NOT_FOUND or getattr(error, "compatible_code", None) == _OLD_COLLECTION_NOT_FOUND:
        return CollectionMissing(answer, "Check the name of the gallery.")
    return StoreError(answer, _REMEDIES.get(code, ""))


def is_not_loaded(error: MilvusException) -> bool:
    """Whether Milvus refused because the collection is not loaded: it was restarted, or somebody released it."""
    return _code(error) == _NOT_LOADED


def quieten() -> None:
    """Keeps the logs of pymilvus and Milvus Lite from the console where this package reports the error itself.

    pymilvus brings handlers that print every failed call, with its traceback. They still print for calls that are
    not this package's. Milvus Lite has none, so Python would print for it where the application has set up no logging.
    """
    for name in ("pymilvus", "pymilvus.milvus_client"):
        for handler in logging.getLogger(name).handlers:
            if _is_other_call not in handler.filters:
                handler.addFilter(_is_other_call)
    lite = logging.getLogger("milvus_lite")
    if not any(isinstance(handler, logging.NullHandler) for handler in lite.handlers):
        lite.addHandler(logging.NullHandler())


def _is_other_call(_record: logging.LogRecord) -> bool:
    return not _calling.get()


def _is_busy(error: Exception, code: object, text: str) -> bool:
    if isinstance(error, grpc.FutureTimeoutError) or code in _UNREACHABLE or code in _BUSY:
        return True
    return any(words in text.lower() for words in _BUSY_WORDS)


def _code(error: Exception) -> object:
    # pymilvus keeps the code as an attribute (a number, or a gRPC status after retries), gRPC behind a call.
    code = getattr(error, "code", None)
    return code() if callable(code) else code


def _text(error: Exception) -> str:
    message = getattr(error, "message", None)
    if not message:
        details = getattr(error, "details", None)
        message = details() if callable(details) else str(error)
    return " ".join(str(message or type(error).__name__).split()).rstrip(".")

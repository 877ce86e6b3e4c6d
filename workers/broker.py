"""Redis: where it is, whether it answers, and how many messages wait there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sbka_milvus.errors import BrokerUnavailable, SettingsError
from sbka_milvus.settings import Settings
from workers.services.state import live_up

if TYPE_CHECKING:
    from redis import Redis

QUEUES = ("train", "embed", "index", "control")

_TIMEOUT_S = 3.0
_SCHEMES = ("redis", "rediss")


def broker_url(settings: Settings) -> str:
    """The address of Redis: that of the settings, else that of the running ``sbka up`` of the workspace.

    Raises:
        BrokerUnavailable: There is neither.
        SettingsError: The address is none of Redis.
    """
    named = settings.broker.url.get_secret_value()
    if named:
        if urlsplit(named).scheme not in _SCHEMES:
            raise SettingsError(
                "SBKA_BROKER__URL is no address of Redis.", "Write it like redis://:password@host:6379/0."
            )
        return named
    up = live_up(settings.workspace)
    if up is None:
        raise BrokerUnavailable(
            f"No Redis is named, and no `sbka up` runs for the workspace {settings.workspace}.",
            "Start `sbka up`, or set SBKA_BROKER__URL.",
        )
    return up.redis


def connect(settings: Settings) -> Redis:
    """A connection to Redis that answered just now, and that gives up after seconds instead of waiting for ever.

    Raises:
        BrokerUnavailable: There is none, or it does not answer or refuses.
        SettingsError: Its address cannot be used.
    """
    return connect_url(broker_url(settings))


def connect_url(url: str) -> Redis:
    """As :func:`connect`, for an address that is known."""
    from redis import Redis

    with broker_faults(url):
        try:
            client = Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, socket_keepalive=True
            )
        except ValueError as error:
            raise SettingsError("SBKA_BROKER__URL cannot be used.", "Write it like redis://host:6379/0.") from error
        try:
            client.ping()
        except BaseException:
            client.close()
            raise
    return client


@contextmanager
def broker_faults(url: str) -> Iterator[None]:
    """Turns what redis-py raises inside into an error of ours that shows no password.

    Raises:
        BrokerUnavailable: Redis cannot be reached, or refused.
    """
    from redis.exceptions import RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        password = urlsplit(url).password
        if password:
            reason = reason.replace(password, "***")
        raise BrokerUnavailable(
            f"Redis at {public_address(url)} cannot be reached: {reason}.",
            "Check that it runs and that SBKA_BROKER__URL is right, or start `sbka up`; then try again.",
        ) from None  # the cause may show the address with its password


def public_address(url: str) -> str:
    """The address without user and password.

    >>> public_address("redis://:secret@localhost:6379/0")
    'redis://localhost:6379/0'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def queue_depths(redis: Redis) -> dict[str, int]:
    """Messages that wait in each queue; those that a worker has in hand are not among them.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with broker_faults(_address(redis)):
        pipe = redis.pipeline(transaction=False)
        for queue in QUEUES:
            pipe.llen(queue)
        return dict(zip(QUEUES, map(int, pipe.execute()), strict=True))


def redis_incarnation(redis: Redis) -> str:
    """A name for this life of the server: another one says that it was restarted and may have lost its messages.

    Raises:
        BrokerUnavailable: Redis does not answer.
    """
    with broker_faults(_address(redis)):
        info: Any = redis.info("server")
        return str(info["run_id"])


def _address(redis: Redis) -> str:
    known = redis.connection_pool.connection_kwargs
    return f"redis://{known.get('host', 'localhost')}:{known.get('port', 6379)}/{known.get('db', 0)}"

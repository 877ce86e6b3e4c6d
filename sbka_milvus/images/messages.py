"""Messages between the process that wants pictures and those that decode them: a length, a header, a payload.

A message is 16 bytes (``SBKA``, the header's length, the payload's), a header of JSON, and bytes. Whoever reads one
believes none of it: what decodes the worst files of a collection may send anything before it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

_START = struct.Struct(">4sIQ")
_MARK = b"SBKA"
_MAX_HEADER = 2**20
_PIPE_BYTES = 2**20
_F_SETPIPE_SZ = 1031


class ChannelClosed(Exception):
    """The other end is gone, or sent something that is no message."""


class OutOfTime(Exception):
    """The other end did not answer in time."""


def pack(header: Mapping[str, Any], payload_size: int) -> bytes:
    """The beginning of a message, which its payload follows.

    >>> pack({"uri": "a"}, 3)
    b'SBKA\\x00\\x00\\x00\\x0c\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x03{"uri": "a"}'
    """
    # Pure ASCII, so that names of any bytes pass.
    text = json.dumps(header).encode("ascii")
    return _START.pack(_MARK, len(text), payload_size) + text


def unpack_start(start: bytes, max_payload: int) -> tuple[int, int]:
    """The lengths of the header and of the payload.

    Raises:
        ChannelClosed: It is no beginning of a message, or one of an absurd length.
    """
    mark, header_size, payload_size = _START.unpack(start)
    if mark != _MARK or header_size > _MAX_HEADER or payload_size > max_payload:
        raise ChannelClosed
    return header_size, payload_size


def parse_header(text: bytes) -> dict[str, Any]:
    """The header of a message.

    Raises:
        ChannelClosed: It is no JSON object.
    """
    try:
        header = json.loads(text)
    except ValueError:
        raise ChannelClosed from None
    if not isinstance(header, dict):
        raise ChannelClosed
    return header


def read_message(stream: IO[bytes], max_payload: int) -> tuple[dict[str, Any], bytes] | None:
    """The next message of a stream; none at its end. Waits for it as long as it takes.

    Raises:
        ChannelClosed: The stream ends in the middle of a message, or holds something else.
    """
    start = stream.read(_START.size)
    if not start:
        return None
    if len(start) < _START.size:
        raise ChannelClosed
    header_size, payload_size = unpack_start(start, max_payload)
    text, payload = stream.read(header_size), stream.read(payload_size)
    if len(text) < header_size or len(payload) < payload_size:
        raise ChannelClosed
    return parse_header(text), payload


def write_message(stream: IO[bytes], header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Sends a message down a stream."""
    stream.write(pack(header, len(payload)))
    if payload:
        stream.write(payload)
    stream.flush()


class Channel:
    """Both ends of a process's pipes, as its parent sees them: nothing here waits beyond its time.

    Args:
        to_child: what the child reads.
        from_child: what the child writes.
    """

    def __init__(self, to_child: IO[bytes], from_child: IO[bytes]) -> None:
        self._out, self._in = to_child.fileno(), from_child.fileno()
        for handle in (self._out, self._in):
            os.set_blocking(handle, False)
            # Larger pipes take a picture in fewer turns; there may be a quota on them.
            with suppress(OSError):
                fcntl.fcntl(handle, _F_SETPIPE_SZ, _PIPE_BYTES)

    def send(self, header: Mapping[str, Any], payload: bytes, deadline: float) -> None:
        """Sends a message.

        Args:
            header: of the message.
            payload: of the message.
            deadline: until when, by ``time.monotonic``.

        Raises:
            ChannelClosed: The child is gone.
            OutOfTime: It does not read.
        """
        for part in (pack(header, len(payload)), payload):
            left = memoryview(part)
            while left:
                self._wait(self._out, select.POLLOUT, deadline)
                try:
                    left = left[os.write(self._out, left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise ChannelClosed from None

    def receive(self, max_payload: int, deadline: float) -> tuple[dict[str, Any], bytearray]:
        """Waits for a message.

        Raises:
            ChannelClosed: The child is gone, or sent something else.
            OutOfTime: It sent none until the deadline.
        """
        header_size, payload_size = unpack_start(bytes(self._read(_START.size, deadline)), max_payload)
        header = parse_header(bytes(self._read(header_size, deadline)))
        return header, self._read(payload_size, deadline)

    def _read(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            self._wait(self._in, select.POLLIN, deadline)
            try:
                count = os.readv(self._in, [left])
            except BlockingIOError:
                continue
            except OSError:
                raise ChannelClosed from None
            if not count:
                raise ChannelClosed
            left = left[count:]
        return data

    def _wait(self, handle: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(handle, event)
        # Past the deadline there is one more look: this process may itself have been stopped for long.
        left = max(0.0, deadline - time.monotonic())
        if not poll.poll(left * 1000):
            raise OutOfTime

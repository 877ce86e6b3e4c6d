"""Messages arrive whole or not at all, and nobody waits beyond his time."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.images.messages import Channel, ChannelClosed, OutOfTime, pack, read_message, write_message

HEADERS = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=20), max_size=4
)
LONG_S = 30.0


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=4))
def test_what_is_written_is_read(messages: list[tuple[dict[str, object], bytes]]) -> None:
    stream = io.BytesIO()
    for header, payload in messages:
        write_message(stream, header, payload)
    stream.seek(0)
    assert [read_message(stream, 1000) for _ in messages] == messages
    assert read_message(stream, 1000) is None


def test_names_of_any_bytes_pass() -> None:
    uri = os.fsdecode(b"/p/caf\xe9\n.png")
    stream = io.BytesIO()
    write_message(stream, {"uri": uri})
    stream.seek(0)
    assert read_message(stream, 0) == ({"uri": uri}, b"")


@settings(deadline=None, derandomize=True)
@given(st.binary(min_size=1, max_size=80))
def test_other_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(ChannelClosed):
        read_message(io.BytesIO(data), 1000)


@pytest.mark.parametrize("cut", [1, 15, 16, 20, -1])
def test_a_message_that_breaks_off_is_none(cut: int) -> None:
    whole = pack({"a": 1}, 3) + b"xyz"
    with pytest.raises(ChannelClosed):
        read_message(io.BytesIO(whole[:cut]), 1000)


@pytest.mark.parametrize(
    "data",
    [
        pack({}, 1001) + bytes(1001),
        b"SBKA" + (2**20 + 1).to_bytes(4, "big") + bytes(8) + b" " * (2**20 + 1),
        b"SBKA" + (2).to_bytes(4, "big") + bytes(8) + b"[]",
        b"SBKA" + (2).to_bytes(4, "big") + bytes(8) + b"{]",
        b"SBKB" + pack({}, 0)[4:],
    ],
)
def test_absurd_lengths_and_headers_are_refused(data: bytes) -> None:
    with pytest.raises(ChannelClosed):
        read_message(io.BytesIO(data), 1000)


class Ends:
    """The two pipes of a child, and the child's ends of them."""

    def __init__(self) -> None:
        child_in, parent_out = os.pipe()
        parent_in, child_out = os.pipe()
        self.files = [os.fdopen(parent_out, "wb", 0), os.fdopen(parent_in, "rb", 0)]
        self.child_in, self.child_out = os.fdopen(child_in, "rb"), os.fdopen(child_out, "wb")
        self.channel = Channel(self.files[0], self.files[1])

    def close(self) -> None:
        for file in (*self.files, self.child_in, self.child_out):
            file.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def soon() -> float:
    return time.monotonic() + 0.05


def later() -> float:
    return time.monotonic() + LONG_S


class TestChannel:
    def test_large_payloads_go_both_ways(self, ends: Ends) -> None:
        payload = os.urandom(5 * 2**20)

        def echo() -> None:
            found = read_message(ends.child_in, 2**30)
            assert found is not None
            write_message(ends.child_out, found[0], found[1])

        child = threading.Thread(target=echo)
        child.start()
        ends.channel.send({"n": 1}, payload, later())
        header, back = ends.channel.receive(2**30, later())
        child.join()
        assert header == {"n": 1} and back == payload

    def test_a_child_that_does_not_answer_is_waited_for_so_long(self, ends: Ends) -> None:
        with pytest.raises(OutOfTime):
            ends.channel.receive(10, soon())

    def test_one_that_stops_in_the_middle_too(self, ends: Ends) -> None:
        ends.child_out.write(pack({}, 10) + b"12345")
        ends.child_out.flush()
        with pytest.raises(OutOfTime):
            ends.channel.receive(10, soon())

    def test_one_that_does_not_read_too(self, ends: Ends) -> None:
        with pytest.raises(OutOfTime):
            ends.channel.send({}, bytes(10 * 2**20), soon())

    def test_what_has_come_counts_even_after_the_time(self, ends: Ends) -> None:
        """This process may have been stopped for an hour; that is not the photo's fault."""
        write_message(ends.child_out, {"done": True}, b"123")
        assert ends.channel.receive(10, time.monotonic() - 3600) == ({"done": True}, bytearray(b"123"))

    def test_a_child_that_is_gone_is_noticed(self, ends: Ends) -> None:
        ends.child_out.close()
        ends.child_in.close()
        with pytest.raises(ChannelClosed):
            ends.channel.receive(10, later())
        with pytest.raises(ChannelClosed):
            ends.channel.send({}, b"123", later())

    def test_more_than_was_asked_for_is_not_taken_in(self, ends: Ends) -> None:
        ends.child_out.write(pack({}, 2**40))
        ends.child_out.flush()
        with pytest.raises(ChannelClosed):
            ends.channel.receive(1000, later())

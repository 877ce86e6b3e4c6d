"""How batches are cut for the cores of a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sbka_milvus.encoders.pieces import LEAST, SIZES, TRIES, WHOLE, Pieces

PIXELS = torch.randn((32, 3, 4, 4), generator=torch.Generator().manual_seed(0))


class Net:
    """Takes a time that depends on the pictures it is given together, by a clock of its own."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.calls: list[int] = []
        self.threads: set[tuple[str, int]] = set()
        self._lock = threading.Lock()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        with self._lock:
            self.calls.append(len(pixels))
            self.now += self.seconds.get(len(pixels), 0.0)
            self.threads.add((threading.current_thread().name, torch.get_num_threads()))
        return pixels.flatten(1) * 2

    def pieces(self) -> Pieces:
        return Pieces(clock=lambda: self.now)


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [({32: 8.0, 4: 0.5, 8: 3.0}, 4), ({32: 8.0, 4: 2.0, 8: 1.0}, 8), ({32: 1.0, 4: 2.0, 8: 1.0}, WHOLE)],
)
def test_the_fastest_way_stays(seconds: dict[int, float], fastest: int, cores: int) -> None:
    net = Net(seconds)
    pieces = net.pieces()
    for _ in range(len(SIZES) * (TRIES + 1)):
        assert pieces.size is None
        torch.testing.assert_close(pieces.run(net, PIXELS), PIXELS.flatten(1) * 2)
    assert pieces.size == fastest
    net.calls.clear()
    torch.testing.assert_close(pieces.run(net, PIXELS), PIXELS.flatten(1) * 2)
    assert net.calls == [fastest or 32] * (32 // (fastest or 32))


def test_a_first_batch_that_builds_what_others_find_built_is_not_counted() -> None:
    net = Net({32: 3.0, 4: 1.0, 8: 1.0})
    pieces = net.pieces()
    pieces.run(net, PIXELS)
    net.seconds[32] = 0.1
    while pieces.size is None:
        pieces.run(net, PIXELS)
    assert pieces.size == WHOLE


def test_each_piece_has_one_core_and_others_keep_theirs(cores: int) -> None:
    net = Net({32: 9.0})
    pieces = net.pieces()
    while pieces.size is None:
        pieces.run(net, PIXELS)
    assert torch.get_num_threads() == cores
    for name, threads in net.threads:
        assert threads == (1 if name.startswith("sbka-encode") else cores)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == cores
    assert any(name.startswith("sbka-encode") for name, _ in net.threads) is (cores > 1)


def test_small_batches_tell_nothing_and_are_encoded_whole() -> None:
    net = Net({})
    pieces = net.pieces()
    for _ in range(50):
        pieces.run(net, PIXELS[: LEAST - 1])
    assert pieces.size is None
    assert set(net.calls) == {LEAST - 1}


def test_what_does_not_divide_is_cut_all_the_same(cores: int) -> None:
    net = Net({32: 9.0, 8: 9.0})
    pieces = net.pieces()
    while pieces.size is None:
        pieces.run(net, PIXELS)
    assert pieces.size == 4
    torch.testing.assert_close(pieces.run(net, PIXELS[:30]), PIXELS[:30].flatten(1) * 2)
    torch.testing.assert_close(pieces.run(net, PIXELS[:3]), PIXELS[:3].flatten(1) * 2)


def test_a_network_that_fails_in_a_piece_is_heard_of(cores: int) -> None:
    net = Net({32: 9.0})
    pieces = net.pieces()
    while pieces.size is None:
        pieces.run(net, PIXELS)

    def broken(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        pieces.run(broken, PIXELS)
    torch.testing.assert_close(pieces.run(net, PIXELS), PIXELS.flatten(1) * 2)


def test_threads_share_it() -> None:
    net = Net({32: 1.0})
    pieces = net.pieces()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: pieces.run(net, PIXELS), range(40)):
            torch.testing.assert_close(found, PIXELS.flatten(1) * 2)
    assert pieces.size is not None

"""What was acknowledged is in the log, whoever died while writing to it."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from sbka_milvus.errors import EmptySketch, GalleryError, ImageError, InvalidValue, OutputError
from sbka_milvus.feedback import FeedbackLog, FeedbackPair
from sbka_milvus.images import content_hash, load_sketch

Draw = Callable[..., Path]


def test_a_verdict_comes_back_with_its_sketch(log: FeedbackLog, draw: Draw) -> None:
    before = datetime.now(UTC)
    pair = log.add(draw(1), "/photos/ünïcödé 猫/1.jpg", "accepted", "cat", "model-1", "test")

    assert log.read() == [pair]
    assert before <= pair.time <= datetime.now(UTC)
    assert pair.sketch == content_hash(draw(1).read_bytes())
    assert log.sketch_file(pair).read_bytes() == draw(1).read_bytes()
    (line,) = log.file.read_text().splitlines()
    assert json.loads(line)["category"] == "cat"


def test_no_log_is_an_empty_one(log: FeedbackLog) -> None:
    assert log.read() == []
    assert log.count_since(None) == 0
    assert not log.folder.exists()


def test_every_kind_of_sketch_is_kept_as_png(log: FeedbackLog, draw: Draw) -> None:
    png = draw(1)
    with Image.open(png) as image:
        image.load()
    jpeg = draw(2, "sketch.jpg")
    array = np.full((40, 40), 255, np.uint8)
    array[10:12, 5:30] = 0
    sketches = [png, str(png), png.read_bytes(), image, jpeg, array, [[(0, 0), (30, 40)], [(5, 5), (9, 1)]]]
    pairs = [log.add(sketch, f"/p/{number}.jpg", "rejected") for number, sketch in enumerate(sketches)]

    assert len({pair.sketch for pair in pairs[:3]}) == 1
    for pair in pairs:
        content = log.sketch_file(pair).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content_hash(content) == pair.sketch
        load_sketch(content)


@pytest.mark.parametrize(
    ("sketch", "error"),
    [(Image.new("L", (50, 50), 255), EmptySketch), (b"no picture", ImageError), (Path("/nowhere.png"), ImageError)],
)
def test_what_is_no_sketch_is_refused_and_leaves_nothing(log: FeedbackLog, sketch: object, error: type) -> None:
    with pytest.raises(error):
        log.add(sketch, "/p/1.jpg", "accepted")
    assert not log.folder.exists()


@pytest.mark.parametrize("values", [{"verdict": "maybe"}, {"category": " "}, {"uri": ""}])
def test_a_verdict_of_another_form_is_refused_and_leaves_nothing(
    log: FeedbackLog, draw: Draw, values: dict[str, str]
) -> None:
    with pytest.raises(InvalidValue):
        log.add(draw(1), **({"uri": "/p/1.jpg", "verdict": "accepted"} | values))  # type: ignore[arg-type]
    assert not log.folder.exists()


def test_the_last_verdict_on_a_pair_counts(log: FeedbackLog, draw: Draw) -> None:
    log.add(draw(1), "/p/1.jpg", "accepted")
    other = log.add(draw(1), "/p/2.jpg", "accepted")
    last = log.add(draw(1), "/p/1.jpg", "rejected")
    assert log.read() == [other, last]


def test_saying_the_same_again_is_no_news(log: FeedbackLog, draw: Draw) -> None:
    first = log.add(draw(1), "/p/1.jpg", "accepted", "cat")
    log.add(draw(1), "/p/1.jpg", "accepted", "cat", source="again")
    assert log.read() == [first]
    assert log.count_since(first.time) == 0
    log.add(draw(1), "/p/1.jpg", "accepted", "dog")
    assert log.count_since(first.time) == 1


def test_pairs_are_counted_from_a_time_on(log: FeedbackLog, draw: Draw) -> None:
    pairs = [log.add(draw(number), "/p/1.jpg", "accepted") for number in range(4)]
    assert log.count_since(None) == 4
    assert log.count_since(pairs[1].time) == 2
    assert log.count_since(pairs[0].time - timedelta(seconds=1)) == 4


def line_of(number: int) -> bytes:
    return FeedbackPair(datetime(2026, 1, 2, tzinfo=UTC), f"{number:032x}", f"/p/{number}.jpg", "accepted").to_line()


@pytest.mark.parametrize("kept", range(0, len(line_of(2)), 7))
def test_a_torn_last_line_is_passed_over_and_mended(log: FeedbackLog, draw: Draw, kept: int) -> None:
    log.folder.mkdir(parents=True)
    log.file.write_bytes(line_of(1) + line_of(2)[:kept])
    assert [pair.uri for pair in log.read()] == ["/p/1.jpg"]

    log.add(draw(1), "/p/3.jpg", "accepted")
    assert [pair.uri for pair in log.read()] == ["/p/1.jpg", "/p/3.jpg"]
    assert all(json.loads(line) for line in log.file.read_text().splitlines())


def test_a_last_line_without_its_line_break_is_kept(log: FeedbackLog, draw: Draw) -> None:
    log.folder.mkdir(parents=True)
    log.file.write_bytes(line_of(1) + line_of(2).rstrip(b"\n"))
    assert [pair.uri for pair in log.read()] == ["/p/1.jpg", "/p/2.jpg"]
    log.add(draw(1), "/p/3.jpg", "accepted")
    assert [pair.uri for pair in log.read()] == ["/p/1.jpg", "/p/2.jpg", "/p/3.jpg"]


def test_a_torn_line_longer_than_a_block_is_mended(log: FeedbackLog, draw: Draw) -> None:
    log.folder.mkdir(parents=True)
    log.file.write_bytes(line_of(1) + b'{"uri": "' + b"x" * 20_000)
    log.add(draw(1), "/p/3.jpg", "accepted")
    assert [pair.uri for pair in log.read()] == ["/p/1.jpg", "/p/3.jpg"]


@pytest.mark.parametrize("damage", [b"no json\n", b"[1]\n", b'{"time": 5}\n', b"\n", line_of(1)[:-2] + b', "x": 1}\n'])
def test_a_damaged_line_in_the_middle_is_named(log: FeedbackLog, damage: bytes) -> None:
    log.folder.mkdir(parents=True)
    log.file.write_bytes(line_of(1) + damage + line_of(2))
    with pytest.raises(GalleryError, match=rf"Line 2 of {log.file} is damaged"):
        log.read()


def test_a_full_disk_leaves_what_was_there(log: FeedbackLog, draw: Draw) -> None:
    log.add(draw(1), "/p/1.jpg", "accepted")
    before = log.file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, hard))
    try:
        with pytest.raises(OutputError, match=r"log.jsonl cannot be written"):
            log.add(draw(1), "/p/2.jpg", "accepted")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert log.file.read_bytes() == before


def test_nobody_writes_while_another_does(log: FeedbackLog, draw: Draw) -> None:
    first = log.add(draw(1), "/p/1.jpg", "accepted")
    with FileLock(log.folder / ".lock"), pytest.raises(GalleryError, match=r"has held .*\.lock for 0.1 s"):
        FeedbackLog(log.folder.parent, lock_wait_s=0.1).add(draw(1), "/p/2.jpg", "accepted")
    assert log.read() == [first]


WRITER = """
import sys
from sbka_milvus.feedback import FeedbackLog
log, sketch, name = FeedbackLog(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]
for number in range(int(sys.argv[4])):
    log.add(sketch, f"/p/{name}/{number}.jpg", "accepted")
    print(number, flush=True)
"""


def writer(log: FeedbackLog, sketch: Path, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, log.folder.parent, sketch, name, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_several_processes_lose_nothing_even_when_one_is_killed(log: FeedbackLog, draw: Draw) -> None:
    doomed, *others = [writer(log, draw(0), name, 100_000 if name == "doomed" else 40) for name in ("doomed", "a", "b")]
    acknowledged = 0
    with doomed, others[0], others[1]:
        assert doomed.stdout is not None
        for _ in range(25):
            acknowledged = int(doomed.stdout.readline()) + 1
        doomed.kill()
        for other in others:
            other.communicate(timeout=60)
            assert other.returncode == 0
        rest = doomed.stdout.read().split()
    acknowledged = max([acknowledged, *(int(number) + 1 for number in rest)])

    uris = {pair.uri for pair in log.read()}
    assert {f"/p/{name}/{number}.jpg" for name in ("a", "b") for number in range(40)} <= uris
    assert {f"/p/doomed/{number}.jpg" for number in range(acknowledged)} <= uris

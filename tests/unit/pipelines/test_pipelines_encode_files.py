"""Decoding stays ahead of the encoder by so much and no more, keeps the order, and ends when the run does."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from sbka_milvus.embeddings.shards import read_embeddings
from sbka_milvus.errors import InvalidValue
from sbka_milvus.images import PhotoFile, find_photos, load_photo
from sbka_milvus.pipelines.embed import embed_photos
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.encode_files import encode_files
from sbka_milvus.stopping import Stopped

SMALL = EmbedOptions(batch_size=2, decode_processes=2, decode_size=32)
PLANT = Path(__file__).parents[2] / "badfiles" / "plant"


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos whose names say so break the processes that decode them."""
    monkeypatch.syspath_prepend(PLANT)


def run(files: Any, encoder: Any, options: EmbedOptions = SMALL) -> tuple[list[str], dict[str, str]]:
    names: list[str] = []
    problems: dict[str, str] = {}
    encode_files(
        files,
        encoder,
        options,
        lambda photos, _: names.extend(photo.file.path.name for photo in photos),
        problems,
        noted,
    )
    return names, {Path(uri).name: why for uri, why in problems.items()}


def noted(steps: int = 1, note: str = "") -> None:
    assert steps >= 1 and note.startswith("limit: ")


def test_the_order_is_kept_whatever_each_photo_takes(photos: Path, make_encoder: Any, planted: None) -> None:
    for number, name in ((2, "stuck"), (5, "segfault"), (7, "babble")):
        (photos / f"{number:02}.png").rename(photos / f"{name}-{number:02}.png")
    files = sorted(find_photos([photos]), key=lambda file: file.path.stem[-2:])
    names, problems = run(files, make_encoder(), replace(SMALL, decode_seconds=1.0))
    assert names == [file.path.name for file in files if not file.path.name.startswith(("stuck", "segfault"))]
    assert set(problems) == {"stuck-02.png", "segfault-05.png"}


def test_jpegs_get_the_vectors_that_they_would_get_without_processes(
    make_encoder: Any, gallery: Any, progress: Any, tmp_path: Path
) -> None:
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        path = tmp_path / "jpegs" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((900, 600), Image.Resampling.BICUBIC).save(path)
    embed_photos([tmp_path / "jpegs"], gallery, make_encoder(), SMALL, progress)
    found = read_embeddings(gallery.shard_folder, "grid-1")
    assert found is not None
    expected = make_encoder().encode_photos([load_photo(uri, target_size=32) for uri in found.uris])
    np.testing.assert_array_equal(found.vectors, expected)


ABSURD = EmbedOptions(batch_size=8, decode_processes=1, decode_size=32, ahead_bytes=8 * 2**20)


@pytest.fixture
def absurd(tmp_path: Path) -> list[PhotoFile]:
    """Pictures of absurd proportions, of 3.2 million bytes each."""
    for number in range(24):
        Image.new("RGB", (20_000, 40), (number, 0, 0)).save(tmp_path / f"{number:02}.png", compress_level=1)
    return list(find_photos([tmp_path]))


def test_pictures_of_absurd_proportions_wait_in_small_numbers(
    make_encoder: Any, absurd: list[PhotoFile], count_alive: Any
) -> None:
    # Slower than decoding: all that may wait decoded, does.
    encoder = make_encoder(on_batch=lambda _: time.sleep(0.5))
    names, problems = run(absurd, encoder, ABSURD)
    assert (len(names), problems) == (24, {})
    # A batch ends with the third, two may wait, and two threads may be at one each.
    assert max(encoder.batches) == 3
    assert 3 < encoder.most_alive <= 3 + 2 + 2


def test_a_stop_ends_also_those_that_wait_for_room(make_encoder: Any, absurd: list[PhotoFile]) -> None:
    before = threading.active_count()

    def stop(batch: int) -> None:
        time.sleep(0.5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(absurd, make_encoder(on_batch=stop), ABSURD)
    assert threading.active_count() <= before


def test_few_photos_need_few_processes(photos: Path, make_encoder: Any) -> None:
    seen: list[int] = []
    encoder = make_encoder(on_batch=lambda _: seen.append(len(children())))
    before = len(children())
    run(list(find_photos([photos / "00.png"])), encoder, replace(SMALL, decode_processes=8))
    assert seen == [before + 1]


def test_they_are_gone_when_it_is_done_or_was_stopped(photos: Path, make_encoder: Any, planted: None) -> None:
    before = children()
    run(list(find_photos([photos])), make_encoder())
    assert children() == before
    (photos / "04.png").rename(photos / "hang-04.png")

    def stop(batch: int) -> None:
        raise KeyboardInterrupt

    files = sorted(find_photos([photos]), key=lambda file: file.path.stem[-2:])
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(files, make_encoder(on_batch=stop), replace(SMALL, decode_seconds=600.0))
    # One of them was in a photo that takes ten minutes.
    assert time.monotonic() - start < 60
    assert children() == before


class Together:
    """Encodes as another does, and only so many batches together: each waits for the others.

    Args:
        inner: the other.
        batches_at_once: as it says from its second batch on.
    """

    def __init__(self, inner: Any, batches_at_once: int) -> None:
        self.inner, self.dim, self.fingerprint = inner, inner.dim, inner.fingerprint
        self.wanted, self.started = batches_at_once, 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()
        self._meet = threading.Barrier(batches_at_once)

    def expect(self, photos: int) -> None:
        assert photos == 10

    @property
    def batches_at_once(self) -> int:
        return self.wanted if self.started else 1

    def encode_photos(self, photos: Sequence[Image.Image]) -> Any:
        with self._lock:
            self.started += 1
            number = self.started
        # Five batches: the first goes alone, the others by twos.
        if number > 1:
            self.threads.add(threading.current_thread().name)
            self._meet.wait(30)
        else:
            assert threading.current_thread() is threading.main_thread()
        return self.inner.encode_photos(photos)


def test_an_encoder_gets_as_many_batches_at_once_as_it_wants(photos: Path, make_encoder: Any) -> None:
    before = threading.active_count()
    encoder = Together(make_encoder(), 2)
    names, problems = run(list(find_photos([photos])), encoder)
    assert (names, problems) == ([f"{number:02}.png" for number in range(10)], {})
    assert (encoder.started, len(encoder.threads)) == (5, 2)
    assert threading.active_count() <= before


def test_a_stop_keeps_all_that_is_being_encoded(photos: Path, make_encoder: Any) -> None:
    names: list[str] = []
    done: list[int] = []

    def advance(steps: int = 1, note: str = "") -> None:
        done.append(steps)
        if sum(done) >= 4:
            raise Stopped(done=f"{sum(done)} files")

    encoder = Together(make_encoder(), 2)
    files = list(find_photos([photos]))
    with pytest.raises(Stopped) as stopped:
        encode_files(
            files, encoder, SMALL, lambda some, _: names.extend(one.file.path.name for one in some), {}, advance
        )
    # It was told in the second batch, when the third was with the encoder too.
    assert stopped.value.done == "6 files"
    assert names == [f"{number:02}.png" for number in range(6)]
    assert encoder.started == 3


def test_of_batches_at_once_the_first_that_fails_is_told(photos: Path, make_encoder: Any) -> None:
    def fail(batch: int) -> None:
        if batch:
            raise InvalidValue("without direction")

    before = threading.active_count()
    with pytest.raises(InvalidValue, match="without direction"):
        run(list(find_photos([photos])), Together(make_encoder(on_batch=fail), 2))
    assert threading.active_count() <= before


def test_it_works_in_a_child_that_may_have_no_children_of_multiprocessing(photos: Path, make_encoder: Any) -> None:
    """As a worker's: its processes are daemons, to which multiprocessing refuses children of their own."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()

    def work() -> None:
        results.put((multiprocessing.current_process().daemon, *run(list(find_photos([photos])), make_encoder())))

    child = context.Process(target=work, daemon=True)
    child.start()
    daemon, names, problems = results.get()
    child.join(60)
    assert (daemon, len(names), problems, child.exitcode) == (True, 10, {}, 0)
    assert os.getpid() != child.pid

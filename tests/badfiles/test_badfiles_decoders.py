"""What hangs, crashes, eats memory or lies costs the file that did it, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from badfiles_corpus import DECODED, KINDS, many_scans, noise, saved, write_corpus
from PIL import Image

from sbka_milvus.errors import DecoderError, ImageError, InvalidValue
from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile, load_photo, load_photo_file

Make = Callable[[str], PhotoFile]


def problem(pool: Decoders, file: PhotoFile) -> str:
    with pytest.raises(ImageError) as caught:
        pool.decode(file)
    return caught.value.problem


def open_files() -> int:
    return psutil.Process().num_fds()


def gone(pids: list[int]) -> bool:
    """Whether none of these is there any more, or soon will not be."""
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class TestCorpus:
    def test_there_are_many_kinds(self) -> None:
        assert len({kind.name for kind in KINDS}) == len(KINDS) >= 100

    def test_every_kind_becomes_what_it_must(self, decoders: Decoders, tmp_path: Path) -> None:
        expected = write_corpus(tmp_path / "corpus")
        files = [PhotoFile(str(path), path, 0, 0) for path in sorted((tmp_path / "corpus").iterdir())]

        def outcome(file: PhotoFile) -> str:
            try:
                photo = decoders.decode(file)
            except ImageError as error:
                assert file.uri in error.problem, "a reason that does not name its file"
                return error.problem
            assert photo.image.mode == "RGB" and min(photo.image.size) > 0
            return DECODED

        with ThreadPoolExecutor(2) as threads:
            found = dict(zip((file.path.name for file in files), threads.map(outcome, files), strict=True))
        wrong = {}
        for name, reason in found.items():
            pattern = expected[name]
            if bool(reason) != bool(pattern) or not re.search(pattern, reason):
                wrong[name] = (pattern, reason)
        assert wrong == {}
        use = decoders.use
        assert (use.timed_out, use.crashed) == (0, 0)
        assert use.started <= 2
        assert use.peak_bytes < 400 * 2**20


class TestPictures:
    def test_jpegs_are_the_very_pixels_that_this_process_would_make(self, decoders: Decoders, tmp_path: Path) -> None:
        smooth = noise("RGB", 30, 20).resize((900, 601), Image.Resampling.BICUBIC)
        for number, options in enumerate(({}, {"progressive": True}, {"exif": b"Exif\0\0II*\0"})):
            path = tmp_path / f"{number}.jpg"
            smooth.save(path, quality=90, **options)
            file = PhotoFile(str(path), path, path.stat().st_size, 1)
            ours, theirs = decoders.decode(file), load_photo_file(file, target_size=64)
            assert (ours.file, ours.content_hash, ours.width, ours.height) == (
                theirs.file, theirs.content_hash, theirs.width, theirs.height,
            )  # fmt: skip
            np.testing.assert_array_equal(np.asarray(ours.image), np.asarray(theirs.image))

    @pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
    def test_large_photos_of_other_forms_are_made_small_and_look_the_same(
        self, decoders: Decoders, tmp_path: Path, form: str
    ) -> None:
        smooth = noise("RGB", 12, 8).resize((900, 600), Image.Resampling.BICUBIC)
        path = tmp_path / f"photo.{form.lower()}"
        smooth.save(path, **({"lossless": True} if form == "WEBP" else {}))
        photo = decoders.decode(PhotoFile(str(path), path, 1, 1))
        assert (photo.width, photo.height) == (900, 600)
        assert photo.image.size == (192, 128)
        # As the encoder would see it: at its own size.
        small = [
            np.asarray(image.resize((96, 64), Image.Resampling.BICUBIC), int)
            for image in (load_photo(path), photo.image)
        ]
        assert np.abs(small[0] - small[1]).max() <= (12 if form == "GIF" else 3)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
    def test_see_through_and_odd_pixels_are_the_same_when_made_small(
        self, decoders: Decoders, tmp_path: Path, mode: str
    ) -> None:
        if mode == "I;16":
            image = Image.fromarray((np.arange(500 * 400).reshape(500, 400) % 60_000).astype(np.uint16))
        else:
            wide = noise("RGBA", 10, 10).resize((400, 500), Image.Resampling.BICUBIC)
            image = wide.convert("RGB").quantize(8) if mode == "P" else wide.convert(mode)
        path = tmp_path / "photo.png"
        image.save(path, **({"transparency": 3} if mode == "P" else {}))
        photo = decoders.decode(PhotoFile(str(path), path, 1, 1))
        assert photo.image.size == (128, 160)
        small = [np.asarray(one.resize((32, 40), Image.Resampling.BOX), int) for one in (load_photo(path), photo.image)]
        assert np.abs(small[0] - small[1]).mean() < 6

    def test_without_a_target_nothing_is_scaled(self, photo: Make) -> None:
        with Decoders(DecodeLimits(), 1) as pool:
            assert pool.decode(photo("a.png")).image.size == (60, 40)


class TestFaults:
    """Each planted in a real process by its photo's name."""

    @pytest.fixture
    def quick(self, planted: Path, limits: DecodeLimits) -> DecodeLimits:
        return replace(limits, seconds=1.0)

    @pytest.mark.parametrize(
        ("name", "reason", "use"),
        [
            ("hang.png", r"takes longer to decode than the limit of 1 s \(SBKA_INGEST__DECODE_SECONDS\)", (1, 0)),
            ("stuck.png", r"takes longer to decode than the limit of 1 s", (1, 0)),
            ("segfault.png", r"ended 2 processes that decoded it \(SIGSEGV\)", (0, 2)),
            ("abort.png", r"ended 2 processes that decoded it \(SIGABRT\)", (0, 2)),
            ("leave.png", r"ended 2 processes that decoded it \(exit code 7\)", (0, 2)),
            ("forge.png", r"ended 2 processes that decoded it", (0, 2)),
            ("hungry.png", r"takes more memory .* the limit of 512 MiB \(SBKA_INGEST__DECODE_MEMORY_MB\)", (0, 0)),
            ("greedy.png", r"takes more memory to decode than the limit of 512 MiB", (0, 0)),
        ],
    )  # fmt: skip
    def test_it_costs_its_file_alone(
        self, quick: DecodeLimits, photo: Make, name: str, reason: str, use: tuple[int, int]
    ) -> None:
        good = [photo(f"good-{number}.png") for number in range(3)]
        bad = photo(name)
        with Decoders(quick, 1) as pool:
            pool.decode(good[0])
            found = problem(pool, bad)
            assert found.startswith(bad.uri)
            assert re.search(reason, found), found
            for file in good:
                assert pool.decode(file).image.size == (60, 40)
            assert (pool.use.timed_out, pool.use.crashed) == use
            assert pool.use.peak_bytes < 800 * 2**20
            pids = pool.pids
        assert gone(pids)

    def test_what_a_library_prints_goes_nowhere(
        self, quick: DecodeLimits, photo: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with Decoders(quick, 1) as pool:
            assert pool.decode(photo("babble.png")).image.size == (60, 40)
            assert pool.use.crashed == 0
        assert capfd.readouterr() == ("", "")

    def test_a_small_jpeg_that_takes_minutes_is_given_up_without_any_plant(
        self, limits: DecodeLimits, tmp_path: Path
    ) -> None:
        path = tmp_path / "scans.jpg"
        path.write_bytes(many_scans())
        assert path.stat().st_size < 2**19
        with Decoders(replace(limits, seconds=1.0), 1) as pool:
            assert "takes longer to decode" in problem(pool, PhotoFile(str(path), path, 1, 1))

    def test_a_large_picture_of_few_bytes_meets_the_limit_of_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "flat.png"
        Image.new("RGBA", (5000, 5000)).save(path, compress_level=1)
        with Decoders(DecodeLimits(memory_mb=64, target=64), 1) as pool:
            assert "takes more memory to decode than the limit of 64 MiB" in problem(
                pool, PhotoFile(str(path), path, 1, 1)
            )
        with Decoders(DecodeLimits(target=64), 1) as pool:
            assert pool.decode(PhotoFile(str(path), path, 1, 1)).width == 5000

    def test_good_neighbours_are_decoded_while_one_hangs(self, quick: DecodeLimits, photo: Make) -> None:
        files = [
            photo("hang.png"),
            *(photo(f"{number}.png") for number in range(8)),
            photo("segfault.png"),
            photo("z.png"),
        ]

        def width(file: PhotoFile) -> int:
            try:
                return pool.decode(file).width
            except ImageError:
                return 0

        with Decoders(quick, 2) as pool, ThreadPoolExecutor(4) as threads:
            assert list(threads.map(width, files)) == [0, *[60] * 8, 0, 60]
            assert len(pool.pids) <= 2

    def test_one_that_somebody_kills_costs_nothing(self, limits: DecodeLimits, photo: Make) -> None:
        with Decoders(limits, 1) as pool:
            pool.decode(photo("a.png"))
            for _ in range(3):
                (pid,) = pool.pids
                os.kill(pid, signal.SIGKILL)
                assert gone([pid])
                assert pool.decode(photo("b.png")).width == 60
            assert pool.use.started == 4


class TestLife:
    def test_processes_start_when_a_photo_needs_one(self, limits: DecodeLimits, photo: Make) -> None:
        with Decoders(limits, 8) as pool:
            assert pool.pids == []
            for name in ("a.png", "b.png", "c.png"):
                pool.decode(photo(name))
            assert len(pool.pids) == pool.use.started == 1

    def test_they_end_with_the_pool_also_at_work(self, limits: DecodeLimits, planted: Path, photo: Make) -> None:
        pool = Decoders(limits, 2)
        with ThreadPoolExecutor(2) as threads:
            works = [threads.submit(pool.decode, photo(f"hang-{number}.png")) for number in range(2)]
            while len(pool.pids) < 2 or any(psutil.Process(pid).status() != "sleeping" for pid in pool.pids):
                assert not any(work.done() for work in works)
                time.sleep(0.01)
            pids = pool.pids
            pool.close()
            for work in works:
                with pytest.raises(DecoderError, match="was stopped"):
                    work.result(timeout=20)
        assert gone(pids)
        with pytest.raises(DecoderError, match="was stopped"):
            pool.decode(photo("a.png"))

    @pytest.mark.parametrize("name", ["a.png", "hang.png"])
    def test_they_end_with_a_parent_that_is_killed(self, planted: Path, photo: Make, name: str) -> None:
        """Idle, or at work in a library that holds the interpreter's lock."""
        program = (
            "import sys, threading\n"
            "from pathlib import Path\n"
            "from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile\n"
            "file = PhotoFile(sys.argv[1], Path(sys.argv[1]), 1, 1)\n"
            "pool = Decoders(DecodeLimits(), 1)\n"
            "work = threading.Thread(target=pool.decode, args=[file], daemon=True)\n"
            "work.start()\n"
            "while not pool.pids: pass\n"
            "'hang' in sys.argv[1] or work.join()\n"
            "print(*pool.pids, flush=True)\n"
            "threading.Event().wait(60)\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, photo(name).uri],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert parent.stdout is not None
        with parent:
            pids = [int(word) for word in parent.stdout.readline().split()]
            assert len(pids) == 1 and psutil.pid_exists(pids[0])
            parent.kill()
        assert gone(pids)

    def test_ctrl_c_is_not_for_them(self, limits: DecodeLimits, photo: Make) -> None:
        with Decoders(limits, 1) as pool:
            pool.decode(photo("a.png"))
            (pid,) = pool.pids
            assert os.getsid(pid) != os.getsid(0)
            os.kill(pid, signal.SIGINT)
            pool.decode(photo("b.png"))
            assert pool.pids == [pid]

    def test_many_threads_share_it(self, decoders: Decoders, photo: Make) -> None:
        file = photo("a.png")
        with ThreadPoolExecutor(12) as threads:
            photos = list(threads.map(decoders.decode, [file] * 60))
        assert {photo.content_hash for photo in photos} == {photos[0].content_hash}
        assert decoders.use.started <= 2

    def test_a_program_that_does_not_start_is_nobodys_photos_fault(self, limits: DecodeLimits, photo: Make) -> None:
        broken = [
            ((sys.executable, "-c", "raise SystemExit('no Pillow here')"), "does not start: no Pillow here"),
            ((sys.executable, "-c", "print('hello')"), "does not start"),
            (("/nowhere/python",), "can be started: No such file"),
        ]
        for program, reason in broken:
            with Decoders(limits, 1, program) as pool, pytest.raises(DecoderError, match=reason):
                pool.decode(photo("a.png"))

    def test_limits_that_allow_nothing_are_refused(self, limits: DecodeLimits) -> None:
        for changed in ({"seconds": 0}, {"memory_mb": 0}, {"max_bytes": -1}, {"max_pixels": 0}, {"target": 0}):
            with pytest.raises(InvalidValue, match=next(iter(changed))):
                replace(limits, **changed)
        with pytest.raises(InvalidValue, match="process"):
            Decoders(limits, 0)

    def test_threads_and_pipes_are_given_back(self, limits: DecodeLimits, photo: Make) -> None:
        with Decoders(limits, 1) as pool:
            pool.decode(photo("a.png"))
        before = threading.active_count(), open_files()
        for _ in range(3):
            with Decoders(limits, 1) as pool:
                pool.decode(photo("a.png"))
        assert (threading.active_count(), open_files()) == before


def test_a_file_that_is_being_written_is_read_as_far_as_it_was(decoders: Decoders, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    whole = saved(noise(), "PNG")
    path.write_bytes(whole[:500])
    assert "cut short" in problem(decoders, PhotoFile(str(path), path, 1, 1))
    path.write_bytes(whole)
    assert decoders.decode(PhotoFile(str(path), path, 1, 1)).width == 60

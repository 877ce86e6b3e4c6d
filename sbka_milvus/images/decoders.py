"""Processes that decode photos: what hangs, crashes or takes too much memory costs one file, never the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import BoundedSemaphore, Lock
from typing import Any

from PIL import Image

from sbka_milvus.errors import DecoderError, ImageError, InvalidValue
from sbka_milvus.images.decode import DecodedPhoto
from sbka_milvus.images.find import PhotoFile
from sbka_milvus.images.messages import Channel, ChannelClosed, OutOfTime
from sbka_milvus.images.source import MAX_PIXELS, printable, refuse_many_bytes
from sbka_milvus.images.sources.read import read_photo
from sbka_milvus.images.uris import is_remote, split_member

PROGRAM = (sys.executable, "-P", "-m", "sbka_milvus.images.decoder_process")
"""What is started, with this process's number and the limit of its memory behind it."""

_START_S = 120.0
_LAST_WORDS = 2000
# A photo is given up when it has ended two processes: one may have been ended by somebody else.
_LIVES = 2
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one photo may cost.

    Attributes:
        seconds: that a process may take to read (from the disk) and decode it.
        memory_mb: MiB that a process may take beyond what it has when it starts.
        max_bytes: of the file.
        max_pixels: that its header may claim.
        target: pixels that its short side must keep; larger photos are scaled down; none: they are left as they are.
    """

    seconds: float = 30.0
    memory_mb: int = 2048
    max_bytes: int = 512 * 2**20
    max_pixels: int = MAX_PIXELS
    target: int | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("seconds", self.seconds),
            ("memory_mb", self.memory_mb),
            ("max_bytes", self.max_bytes),
            ("max_pixels", self.max_pixels),
            ("target", self.target),
        ):
            if value is not None and not value > 0:
                raise InvalidValue(f"{name} must be above 0, not {value}.")


@dataclass(frozen=True, slots=True)
class DecodeUse:
    """What decoding has cost, over all processes.

    Attributes:
        reading_s: seconds spent reading, of all readers together.
        decoding_s: seconds spent decoding and scaling, of all processes together.
        started: processes that were started.
        timed_out: photos over which a process ran out of time.
        crashed: processes that ended by themselves.
        peak_bytes: the most memory of one process that was in RAM at once.
    """

    reading_s: float = 0.0
    decoding_s: float = 0.0
    started: int = 0
    timed_out: int = 0
    crashed: int = 0
    peak_bytes: int = 0


class Decoders:
    """Decodes photos in processes of their own, as many at once as threads ask for and ``processes`` allows.

    A process is started when a photo needs one and all others are busy. One that runs out of time is killed, one that
    dies is replaced. Photos on the disk are read by these processes, too; members of archives and photos at addresses
    are read here, where their archives are open and their stores are known, and sent over: they have limits and
    patience of their own (:mod:`sbka_milvus.images.sources`), and the time limit begins once they are here.

    Threads may share it. Close it, or use it in a ``with`` block.

    Args:
        limits: what one photo may cost.
        processes: the most at once.
        program: what is started.
    """

    def __init__(self, limits: DecodeLimits, processes: int, program: Sequence[str] = PROGRAM) -> None:
        if processes < 1:
            raise InvalidValue(f"At least 1 process must decode, not {processes}.")
        self._limits = limits
        self._processes = processes
        self._program = tuple(program)
        self._slots = BoundedSemaphore(processes)
        self._lock = Lock()
        self._idle: list[_Decoder] = []
        self._all: set[_Decoder] = set()
        self._use = DecodeUse()
        self._closed = False
        # The kernel ends a process when the thread that started it ends, so one thread starts all and outlives them.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="sbka-start")

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def use(self) -> DecodeUse:
        """What it has cost so far."""
        with self._lock:
            return self._use

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        with self._lock:
            return [decoder.pid for decoder in self._all]

    @property
    def most_memory(self) -> int:
        """Bytes: what its processes can have had in RAM together at most."""
        use = self.use
        return use.peak_bytes * min(use.started, self._processes)

    def decode(self, file: PhotoFile) -> DecodedPhoto:
        """Reads and decodes a photo; its picture is scaled down to what ``limits.target`` needs.

        Raises:
            ImageError: It cannot be used: names the file, and the limit where it is one.
            DecoderError: No process could be started.
        """
        data = self._read(file) if _is_read_here(file.uri) else None
        for lives in reversed(range(_LIVES)):
            with self._slots:
                decoder = self._take()
                try:
                    answer, pixels = decoder.ask(_request(file, data, self._limits), data or b"", self._limits)
                except OutOfTime:
                    self._drop(decoder)
                    self._add(timed_out=1)
                    raise _out_of_time(file, self._limits) from None
                except ChannelClosed:
                    code = self._drop(decoder)
                    if self._closed:
                        raise _stopped() from None
                    self._add(crashed=1)
                    if not lives:
                        raise _crash(file, code) from None
                    continue
                except BaseException:
                    self._drop(decoder)
                    raise
                self._give_back(decoder)
            self._add(reading_s=answer["read_s"], decoding_s=answer["decode_s"], peak_bytes=answer["peak"])
            if "problem" in answer:
                raise ImageError(str(answer["problem"]))
            image = Image.frombytes("RGB", tuple(answer["size"]), pixels)
            return DecodedPhoto(file, answer["hash"], answer["width"], answer["height"], image)
        raise AssertionError("a photo has at least one life")

    def close(self) -> None:
        """Ends all processes at once. Threads that wait for a photo are told that decoding was stopped."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
            self._all.clear()
        for decoder in busy:
            # Its pipes are the affair of the thread that uses it, which notices.
            decoder.kill()
        for decoder in idle:
            decoder.end()
        self._starter.shutdown()

    def _read(self, file: PhotoFile) -> bytes:
        start = time.perf_counter()
        try:
            data = read_photo(file.uri, self._limits.max_pixels)
            refuse_many_bytes(printable(file.uri), len(data), self._limits.max_bytes)
            return data
        finally:
            self._add(reading_s=time.perf_counter() - start)

    def _take(self) -> _Decoder:
        while (decoder := self._idle_one()) is not None:
            if decoder.is_running:
                return decoder
            self._drop(decoder)
        try:
            decoder = self._starter.submit(_Decoder, self._program, self._limits.memory_mb).result()
        except RuntimeError:
            raise _stopped() from None
        with self._lock:
            if not self._closed:
                self._all.add(decoder)
                self._use = replace(self._use, started=self._use.started + 1)
                return decoder
        decoder.end()
        raise _stopped()

    def _idle_one(self) -> _Decoder | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, decoder: _Decoder) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(decoder)
                return
        decoder.end()

    def _drop(self, decoder: _Decoder) -> int | None:
        with self._lock:
            self._all.discard(decoder)
        return decoder.end()

    def _add(self, *, peak_bytes: int = 0, **more: float) -> None:
        with self._lock:
            sums = {name: getattr(self._use, name) + value for name, value in more.items()}
            peak = max(self._use.peak_bytes, peak_bytes)
            self._use = replace(self._use, peak_bytes=peak, **sums)


class _Decoder:
    """One process."""

    def __init__(self, program: tuple[str, ...], memory_mb: int) -> None:
        try:
            # A session of its own: Ctrl-C in a terminal is for the parent alone.
            self._process = subprocess.Popen(
                [*program, str(os.getpid()), str(memory_mb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise DecoderError(
                f"No process that decodes photos can be started: {error.strerror or error}.",
                "Free memory, or allow more processes.",
            ) from error
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self._channel = Channel(process.stdin, process.stdout)
        self._ready = False
        self.pid = process.pid

    def ask(self, request: dict[str, Any], data: bytes, limits: DecodeLimits) -> tuple[dict[str, Any], bytearray]:
        """Has it decode a photo.

        Raises:
            ChannelClosed: It is gone, or talks nonsense.
            OutOfTime: It takes too long.
            DecoderError: It never began.
        """
        if not self._ready:
            self._wait_until_ready()
        deadline = time.monotonic() + limits.seconds
        self._channel.send(request, data, deadline)
        answer, pixels = self._channel.receive(3 * limits.max_pixels, deadline)
        _require_answer(answer, len(pixels))
        return answer, pixels

    def _wait_until_ready(self) -> None:
        process = self._process
        assert process.stderr is not None
        try:
            self._channel.receive(0, time.monotonic() + _START_S)
        except (ChannelClosed, OutOfTime):
            process.kill()
            lines = process.stderr.read()[-_LAST_WORDS:].decode(errors="replace").strip().splitlines()
            raise DecoderError(
                f"A process that decodes photos does not start{': ' + lines[-1] if lines else ''}.",
                "Check the installation of sbka-milvus.",
            ) from None
        process.stderr.close()
        self._ready = True

    @property
    def is_running(self) -> bool:
        """Whether nothing has ended it meanwhile."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it, without waiting for that."""
        self._process.kill()

    def end(self) -> int | None:
        """Ends it; gives its exit code, minus the signal's number where it was one."""
        code = None
        self._process.kill()
        # A process that waits for a disk that does not answer cannot be killed, and is not waited for.
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return code


def _stopped() -> DecoderError:
    return DecoderError("Decoding was stopped.")


def _environment() -> dict[str, str]:
    # What this process can import, the other can: in the same order, so that it is the same.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
    return {**os.environ, **_QUIET, "PYTHONPATH": path}


def _request(file: PhotoFile, data: bytes | None, limits: DecodeLimits) -> dict[str, Any]:
    return {
        "uri": file.uri,
        "read": data is None,
        "max_bytes": limits.max_bytes,
        "max_pixels": limits.max_pixels,
        "target": limits.target,
    }


def _require_answer(answer: dict[str, Any], payload: int) -> None:
    """Takes no answer that could not be meant.

    Raises:
        ChannelClosed: It is none.
    """
    try:
        numbers = [float(answer[name]) for name in ("read_s", "decode_s", "peak")]
        if "problem" not in answer:
            width, height = answer["size"]
            numbers += [answer["width"], answer["height"]]
            if not (isinstance(answer["hash"], str) and width * height * 3 == payload and min(width, height) > 0):
                raise ChannelClosed
        if min(numbers) < 0:
            raise ChannelClosed
    except (KeyError, TypeError, ValueError):
        raise ChannelClosed from None


def _is_read_here(uri: str) -> bool:
    return is_remote(uri) or split_member(uri) is not None


def _out_of_time(file: PhotoFile, limits: DecodeLimits) -> ImageError:
    return ImageError(
        f"{printable(file.uri)} takes longer to decode than the limit of {limits.seconds:g} s "
        "(SBKA_INGEST__DECODE_SECONDS).",
        "Export it again, or raise the limit.",
    )


def _crash(file: PhotoFile, code: int | None) -> ImageError:
    how = f"exit code {code}"
    if code is not None and code < 0:
        with suppress(ValueError):
            how = signal.Signals(-code).name
    return ImageError(
        f"{printable(file.uri)} ended {_LIVES} processes that decoded it ({how}).",
        "Export it again with another program.",
    )

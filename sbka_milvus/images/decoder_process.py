"""A process that does nothing but decode pictures: what a bad one does to it costs that picture alone.

It is started as a program of its own, reads requests from standard input and answers on standard output; see
:class:`~sbka_milvus.images.decoders.Decoders`. It takes no more memory than it was given, leaves no core dumps, lets
Ctrl-C be its parent's affair, and ends with its parent, however that ends.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

from sbka_milvus.errors import ImageError
from sbka_milvus.images.decode import JPEG_START, decode_upright, shrink_safely, to_rgb_safely
from sbka_milvus.images.messages import ChannelClosed, read_message, write_message
from sbka_milvus.images.source import content_hash, printable, read_image_file
from sbka_milvus.memory import PeakMemory, address_space

_PR_SET_PDEATHSIG = 1
_MAX_REQUEST = 2**40
_peak = PeakMemory()


def main() -> None:
    """Answers requests until there are no more: ``decoder_process PARENT_PID MEMORY_MB``."""
    parent, memory_mb = int(sys.argv[1]), int(sys.argv[2])
    requests, answers = _own_pipes()
    _depend_on(parent)
    _limit(memory_mb)
    # What was loaded lives as long as the process.
    gc.freeze()
    with suppress(BrokenPipeError, ChannelClosed):
        write_message(answers, {"ready": True})
        while (request := read_message(requests, _MAX_REQUEST)) is not None:
            header, pixels = answer(*request, memory_mb)
            write_message(answers, header, pixels)
            del request, pixels
    # Nothing is left to be done, and a broken library might do it badly.
    os._exit(0)


def answer(request: dict[str, Any], data: bytes, memory_mb: int) -> tuple[dict[str, Any], bytes]:
    """Decodes one picture.

    Args:
        request: ``uri``, ``read`` (whether it is to be read from there), ``max_bytes``, ``max_pixels`` and ``target``
            (:attr:`~sbka_milvus.images.decoders.DecodeLimits`).
        data: the file's bytes, where they are not to be read.
        memory_mb: what this process may take, for the message.

    Returns:
        The answer: ``problem``, or ``hash``, ``width`` and ``height`` of the original, ``size`` of what follows, in any
        case with ``read_s``, ``decode_s`` and ``peak`` (bytes); and RGB pixels, 3 bytes each.
    """
    start = read = time.perf_counter()
    name = printable(request["uri"])
    try:
        if request["read"]:
            data = read_image_file(Path(request["uri"]), request["max_pixels"], request["max_bytes"])
        read = time.perf_counter()
        image, (width, height) = _decode(data, name, request["max_pixels"], request["target"])
        pixels = image.tobytes()
        told = {"hash": content_hash(data), "width": width, "height": height, "size": image.size}
    except ImageError as error:
        problem = _memory(name, memory_mb) if _is_of_memory(error.__cause__) else error.problem
        told, pixels = {"problem": problem}, b""
    except Exception as error:
        what = f"{name} cannot be decoded ({type(error).__name__}: {error})."
        told, pixels = {"problem": _memory(name, memory_mb) if _is_of_memory(error) else what}, b""
    done = time.perf_counter()
    return {**told, "read_s": read - start, "decode_s": done - read, "peak": _peak()}, pixels


def _decode(data: bytes, name: str, max_pixels: int, target: int | None) -> tuple[Image.Image, tuple[int, int]]:
    image, original = decode_upright(data, name, max_pixels, target)
    # JPEG was made small while it was decoded, and is left as that made it.
    if target is not None and not data.startswith(JPEG_START):
        image = shrink_safely(image, target, name)
    return to_rgb_safely(image, name), original


def _is_of_memory(error: BaseException | None) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _memory(name: str, memory_mb: int) -> str:
    return f"{name} takes more memory to decode than the limit of {memory_mb:,} MiB (SBKA_INGEST__DECODE_MEMORY_MB)."


def _own_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes, out of reach of libraries that print: what they say goes nowhere."""
    requests, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def _depend_on(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An idle process sees the end of its pipe. One that is at work sees nothing, so the kernel ends it, where it can.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _limit(memory_mb: int) -> None:
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        most = address_space() + memory_mb * 2**20
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # Where the machine's memory runs out all the same, this process goes and not its parent.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    main()

"""The log of verdicts in a gallery's folder. What was acknowledged is on the disk, whoever dies when."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sbka_milvus.errors import GalleryError, OutputError
from sbka_milvus.feedback.pairs import FeedbackPair, Verdict, newest
from sbka_milvus.files import replacing
from sbka_milvus.images.source import content_hash, read_image_file

if TYPE_CHECKING:
    from PIL import Image

_DRAWN_SIZE = 512  # px; of strokes and arrays, which have no file of their own
_PNG = b"\x89PNG\r\n\x1a\n"


class FeedbackLog:
    """The verdicts on a gallery's photos, and the sketches they were given for.

    Several processes may write at once. A line that a killed process left half-written was never acknowledged: it is
    passed over, and taken away by the next writer.

    Args:
        gallery: the gallery's folder; the log is in ``feedback/`` below it and is made when something is added.
        lock_wait_s: seconds to wait for another process that is writing.

    >>> log = FeedbackLog("gallery/")  # doctest: +SKIP
    >>> log.add("cat.png", "/photos/cats/1.jpg", "accepted")  # doctest: +SKIP
    """

    def __init__(self, gallery: str | Path, *, lock_wait_s: float = 30.0) -> None:
        self.folder = Path(gallery) / "feedback"
        self.file = self.folder / "log.jsonl"
        self.sketches = self.folder / "sketches"
        self._lock_wait_s = lock_wait_s

    def add(
        self,
        sketch: str | Path | bytes | Image.Image | Any,
        uri: str,
        verdict: Verdict,
        category: str | None = None,
        fingerprint: str = "",
        source: str = "",
    ) -> FeedbackPair:
        """Adds a verdict; when this returns, it and the sketch are on the disk.

        Args:
            sketch: whatever :class:`~sbka_milvus.SketchSearch` takes. A PNG file is kept byte for byte; of others the
                pixels are kept as PNG.
            uri: the photo. Whether the gallery holds it is not looked at here:
                :func:`~sbka_milvus.pipelines.feedback.give_feedback` does that.
            verdict: ``accepted`` or ``rejected``.
            category: what the sketch shows, where the user says so.
            fingerprint: of the model that found the photo.
            source: where the verdict comes from.

        Raises:
            ImageError: The sketch cannot be read, or has no ink on it.
            InvalidValue: The verdict or the category has another form.
            OutputError: The disk is full or the folder cannot be written.
            GalleryError: Another process holds the log and does not give it back.
        """
        content = _as_png(sketch)
        pair = FeedbackPair(datetime.now(UTC), content_hash(content), uri, verdict, category, fingerprint, source)
        # The sketch first: a line never names one that is not there.
        self._keep(self.sketch_file(pair), content)
        with self._locked(), self._opened() as file:
            _append(file, pair.to_line())
        return pair

    def read(self) -> list[FeedbackPair]:
        """The verdicts that count, oldest first: see :func:`~sbka_milvus.feedback.pairs.newest`.

        Raises:
            GalleryError: A line other than the last is damaged, or the log cannot be read.
        """
        try:
            *lines, rest = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise GalleryError(f"{self.file} cannot be read: {error.strerror}.", "Check its permissions.") from error
        pairs = []
        for number, line in enumerate(lines, start=1):
            try:
                pairs.append(FeedbackPair.from_line(line))
            except ValueError as error:
                raise GalleryError(
                    f"Line {number} of {self.file} is damaged: {error}.", "Correct or remove that line."
                ) from error
        with suppress(ValueError):
            pairs.append(FeedbackPair.from_line(rest))
        return newest(pairs)

    def count_since(self, time: datetime | None) -> int:
        """How many of the verdicts that count are newer than a time; all of them without one.

        Raises:
            GalleryError: The log is damaged.
        """
        return sum(time is None or pair.time > time for pair in self.read())

    def sketch_file(self, pair: FeedbackPair) -> Path:
        """The sketch of a pair."""
        return self.sketches / f"{pair.sketch}.png"

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            if path.read_bytes() == content:
                return
        except OSError:
            pass
        with replacing(path) as file:
            file.write(content)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        path = self.folder / ".lock"
        lock = FileLock(path, timeout=self._lock_wait_s)
        try:
            lock.acquire()
        except Timeout as error:
            raise GalleryError(
                f"Another process has held {path} for {self._lock_wait_s:g} s.", "End it, and give the verdict again."
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if not self.file.exists():
            with replacing(self.file):  # an empty one, whose name has reached the disk
                pass
        try:
            with self.file.open("r+b", buffering=0) as file:
                yield file
        except OSError as error:
            raise _unwritable(self.file, error) from error


def _append(file: IO[bytes], line: bytes) -> None:
    end = _end_of_whole_lines(file)
    try:
        file.seek(end)
        written = file.write(line)
        if written != len(line):  # the disk is full: the rest would fail, and say why
            file.write(line[written:])
        os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            file.truncate(end)
        raise


def _end_of_whole_lines(file: IO[bytes]) -> int:
    """Where the next line begins, once what a killed process left behind is taken away.

    A last line that lacks nothing but its line break, as an editor leaves it, is kept.
    """
    end = file.seek(0, os.SEEK_END)
    start = _start_of_last_line(file, end)
    if start == end:
        return end
    file.seek(start)
    rest = file.read(end - start)
    try:
        FeedbackPair.from_line(rest)
    except ValueError:
        file.truncate(start)
        return start
    file.write(b"\n")
    return end + 1


def _start_of_last_line(file: IO[bytes], end: int) -> int:
    block = 4096
    position = end
    while position > 0:
        begin = max(0, position - block)
        file.seek(begin)
        found = file.read(position - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return 0


def _as_png(sketch: Any) -> bytes:
    """The bytes under which a sketch is kept.

    Raises:
        ImageError: It cannot be read, or has no ink on it.
    """
    from PIL import Image

    from sbka_milvus.images.decode import decode_upright, decoded_image, to_plain_safely
    from sbka_milvus.images.sketch import load_sketch
    from sbka_milvus.images.source import MAX_PIXELS

    drawn = load_sketch(sketch, size=_DRAWN_SIZE)
    data = read_image_file(sketch) if isinstance(sketch, (str, Path)) else sketch
    if isinstance(data, bytes):
        if data.startswith(_PNG):
            return data
        drawn = to_plain_safely(decode_upright(data, "The sketch", MAX_PIXELS)[0], "The sketch")
    elif isinstance(data, Image.Image):
        drawn = to_plain_safely(decoded_image(data, MAX_PIXELS), "The sketch")
    stream = io.BytesIO()
    drawn.save(stream, format="PNG")
    return stream.getvalue()


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}.", "Check free space and permissions, then try again."
    )

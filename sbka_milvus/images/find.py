"""Finds photos in files, folders and patterns: sorted, each once, and never opening one."""

# Paths stay text here: a Path for every step costs too much over millions of files.
# ruff: noqa: PTH100, PTH110, PTH112, PTH114, PTH116, PTH118, PTH122

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbka_milvus.errors import ImageError
from sbka_milvus.images.pattern import Pattern, is_pattern
from sbka_milvus.images.source import printable
from sbka_milvus.images.uris import split_member
from sbka_milvus.types import Metadata

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""What counts as an image in a folder, in lower case; the letters' case in a file's name does not matter."""

OnProblem = Callable[[Path, str], None]
_Step = tuple[str, str | None, os.DirEntry[str] | None]  # path, real path unless it is a link, entry unless a root
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file that should be a photo.

    Attributes:
        uri: the absolute path as ``os.path.abspath`` makes it, with symbolic links as the user wrote them; or another
            one as :mod:`sbka_milvus.images.uris` has it.
        path: of the file on the disk, where it is one.
        size: bytes.
        mtime_ns: time of the last change in nanoseconds since 1970; of photos in archives and at addresses another
            number, which changes when the photo does.
        metadata: what its source says of it beside the pixels; none where the source says nothing of any photo.
    """

    uri: str
    path: Path
    size: int
    mtime_ns: int
    metadata: Metadata | None = field(default=None, hash=False)


def has_image_suffix(name: str) -> bool:
    """Whether a file in a folder is taken for an image.

    >>> has_image_suffix("CAT.JPEG"), has_image_suffix("notes.txt")
    (True, False)
    """
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def find_photos(sources: Sequence[str | Path] | str | Path, on_problem: OnProblem | None = None) -> Iterator[PhotoFile]:
    """The photos of files, folders and patterns, in the order of the sources, sorted within each, each photo once.

    A file that is named is taken whatever its suffix. In folders, and where a pattern matches, hidden files and
    folders, and names without an image's suffix are passed over. Links to folders are followed, but every folder is
    walked once, so loops end.

    Args:
        sources: files, folders, or patterns such as ``photos/*.jpg`` and ``photos/**/*.png``.
        on_problem: is told of every broken link, unreadable folder, pipe and unusable name in a folder, and why;
            the walk goes on. Without it they are logged as warnings.

    Raises:
        ImageError: A source does not exist or is no file, or a pattern matches nothing. Raised by the call itself,
            before the first photo.
    """
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    report = on_problem if on_problem is not None else _log_problem
    checked = [checked_source(os.fspath(source)) for source in named]
    return Walk(report).photos(checked)


def _log_problem(path: Path, problem: str) -> None:
    _log.warning("Passed over %s: it %s.", printable(path), problem)


def checked_source(source: str) -> str | Pattern:
    """A file, folder or pattern that is there, as :class:`Walk` takes it.

    Raises:
        ImageError: It is not there, is no file, or matches nothing.
    """
    if not source:
        raise ImageError("A source is an empty path.", "Name files, folders or patterns.")
    path, name = os.path.abspath(source), printable(source)
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        if is_pattern(path):
            return _checked_pattern(path, name)
        if isinstance(error, FileNotFoundError):
            problem = "is a broken link" if os.path.islink(path) else "does not exist"
            raise ImageError(f"{name} {problem}.", "Check the path.") from None
        raise ImageError(f"{name} cannot be used: {_reason(error)}.", "Check the path.") from error
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ImageError(f"{name} is a pipe, socket or device.", "Name image files or folders of them.")
    if not _is_text(path):
        raise ImageError(f"{name} has a path that is not valid UTF-8.", "Rename it.")
    return path


def _checked_pattern(path: str, name: str) -> Pattern:
    pattern = Pattern(path)
    # A look at the first match only: the problems of the way there are reported by the walk itself.
    if next(Walk(lambda _path, _problem: None).photos([pattern]), None) is None:
        raise ImageError(
            f"The pattern {name} matches no image.", "Check it; ** goes into sub-folders, and a shell needs quotes."
        )
    return pattern


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def unusable_name(path: str) -> str:
    """Why no file of this path can be taken: the end of a sentence, empty where it can.

    >>> unusable_name("/photos/a.zip!/1.jpg"), unusable_name("/photos/1.jpg")
    ('has a path that reads like that of a member of an archive', '')
    """
    if not _is_text(path):
        return "has a name that is not valid UTF-8"
    return "has a path that reads like that of a member of an archive" if split_member(path) else ""


def _is_text(name: str) -> bool:
    # Vector stores and parquet keep URIs as UTF-8 and cannot hold the bytes of other names.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    # It may have been a link to a folder, so that its name alone does not make it unimportant.
    return entry.is_symlink() and not os.path.exists(entry.path)


@dataclass(slots=True)
class Walk:
    """One walk over all sources, which remembers what it has been to.

    Attributes:
        report: is told of what cannot be used.
        folders: real paths of folders that were walked whole.
        files: real paths of files that were reached in another way; who takes a file elsewhere adds it.
    """

    report: OnProblem
    folders: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def photos(self, sources: Sequence[str | Pattern]) -> Iterator[PhotoFile]:
        """The photos of checked sources that did not come yet."""
        for source in sources:
            if isinstance(source, Pattern):
                yield from self._matching(source)
            elif os.path.isdir(source):
                yield from self._folder(source)
            else:
                yield from self._single(source)

    def _matching(self, pattern: Pattern) -> Iterator[PhotoFile]:
        if not pattern.recursive:
            for path in pattern.expand():
                if os.path.isdir(path):
                    yield from self._folder(path)
                elif pattern.names_suffix or has_image_suffix(path):
                    yield from self._single(path)
            return
        # A walk of its own for the folders: these are not walked whole, since only some files match.
        for path, _ in Walk(self.report)._files(pattern.base, not pattern.names_suffix):
            if pattern.matches(path):
                yield from self._single(path)

    def _folder(self, root: str) -> Iterator[PhotoFile]:
        for path, real in self._files(root, True):
            if real is None:
                yield from self._single(path)
            elif real not in self.files:
                yield from self._photo(path)

    def _single(self, path: str) -> Iterator[PhotoFile]:
        real = os.path.realpath(path)
        folder, name = os.path.split(real)
        walked = folder in self.folders and has_image_suffix(name) and not name.startswith(".")
        # The target of a broken link never comes by itself, and has to be reported.
        if not (walked and os.path.exists(real)) and real not in self.files:
            self.files.add(real)
            yield from self._photo(path)

    def _files(self, root: str, images_only: bool) -> Iterator[tuple[str, str | None]]:
        """Files below a folder in the order of their names, with their real paths, which links have not.

        There is no recursion, since trees can be deep, and a real path is made from its folder's: to resolve each
        anew would look at every folder above it.
        """
        pending: list[_Step] = [(root, os.path.realpath(root), None)]
        while pending:
            path, real, entry = pending.pop()
            if entry is None or self._is_folder(entry):
                real = os.path.realpath(path) if real is None else real
                if real not in self.folders:
                    self.folders.add(real)
                    pending.extend(self._listing(path, real))
            elif not images_only or has_image_suffix(entry.name) or _is_broken_link(entry):
                yield path, real

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:
            return False  # A link to itself, say: looking at it as a file reports it.

    def _listing(self, folder: str, real: str) -> list[_Step]:
        try:
            with os.scandir(folder) as entries:
                found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name, reverse=True)
        except OSError as error:
            self.report(Path(folder), f"cannot be listed: {_reason(error)}")
            return []
        return [(e.path, None if e.is_symlink() else os.path.join(real, e.name), e) for e in found]

    def _photo(self, path: str) -> Iterator[PhotoFile]:
        problem = unusable_name(path)
        if problem:
            self.report(Path(path), problem)
            return
        try:
            found = os.stat(path)
        except FileNotFoundError:
            self.report(Path(path), "is a broken link" if os.path.islink(path) else "has just been removed")
            return
        except OSError as error:
            self.report(Path(path), f"cannot be looked at: {_reason(error)}")
            return
        if stat.S_ISREG(found.st_mode):
            yield PhotoFile(path, Path(path), found.st_size, found.st_mtime_ns)
        elif not stat.S_ISDIR(found.st_mode):
            self.report(Path(path), "is a pipe, socket or device")

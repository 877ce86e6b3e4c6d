"""Finds the photos of sources of every kind: files, folders, patterns, archives, manifests, addresses."""

# Paths stay text here, as in the module that finds photos on the disk.
# ruff: noqa: PTH112, PTH113

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sbka_milvus.errors import ImageError, SourceError
from sbka_milvus.images.find import PhotoFile, Walk, checked_source, has_image_suffix
from sbka_milvus.images.pattern import Pattern, is_pattern
from sbka_milvus.images.source import printable
from sbka_milvus.images.sources.braces import expand_braces, has_braces
from sbka_milvus.images.sources.manifest import Manifest
from sbka_milvus.images.sources.read import open_archives, remote_files
from sbka_milvus.images.sources.remote import RemoteFile, require_plain_address
from sbka_milvus.images.sources.rows import ManifestPhotos
from sbka_milvus.images.uris import (
    absolute_source,
    is_archive,
    is_manifest,
    is_remote,
    is_web,
    member_uri,
    split_member,
)

OnProblem = Callable[[str, str], None]
_MAX_MANIFEST_BYTES = 2**31
_log = logging.getLogger(__name__)


def source_photos(
    sources: Sequence[str | Path] | str | Path, on_problem: OnProblem | None = None
) -> Iterator[PhotoFile]:
    """The photos of sources, each photo once.

    Manifests come first, so that what they say of a photo is kept where another source names it too; then the others
    in their order. A source is

    * a file, folder or pattern, as :func:`~sbka_milvus.images.find.find_photos` takes them;
    * a tar or zip archive, or a pattern of such; ``shard.tar!/cats`` is a part of one;
    * a manifest: CSV, TSV, Parquet or JSON lines, whose column ``uri``, ``path`` or ``file`` names photos;
    * an address: ``https://...`` of any of these files, or one of an object store, there also a folder or a pattern;
    * any of them with braces: ``shard-{000..012}.tar``.

    Args:
        sources: one, or several.
        on_problem: is told the URI of everything that cannot be used, and why: a sentence, or the end of one. Without
            it they are logged as warnings.

    Raises:
        ImageError: A source does not exist or is no file, a pattern matches nothing, an address cannot be asked, or a
            manifest names no photos. Raised by the call itself, before the first photo; only what is wrong further
            down in a manifest is raised on the way.
    """
    named = [sources] if isinstance(sources, (str, Path)) else list(sources)
    plain = [text for source in named for text in _without_braces(os.fspath(source))]
    search = _Search(on_problem or _log_problem)
    for text in plain:
        search.add(text)
    search.check()
    return search.photos()


def photos_of_uris(uris: Sequence[str], on_problem: OnProblem) -> Iterator[PhotoFile]:
    """The photos of URIs, as :func:`source_photos` has named them; of folders and archives, those in them.

    Nothing is raised: what is not there, or cannot be used, is told.

    Args:
        uris: of photos, folders and archives.
        on_problem: is told the URI of everything that cannot be used, and why.
    """
    remote = [uri for uri in uris if is_remote(uri) and split_member(uri) is None and not is_archive(uri)]
    for uri, found in zip(remote, remote_files().look_at_all(remote), strict=True):
        if isinstance(found, RemoteFile):
            yield PhotoFile(uri, Path(uri), found.size, found.stamp)
        else:
            on_problem(uri, found.problem)
    asked = set(remote)
    for uri in uris:
        if uri not in asked:
            search = _Search(on_problem)
            try:
                search.add(uri)
                search.check()
                yield from search.photos()
            except ImageError as error:
                on_problem(uri, error.problem)


def absolute_sources(source: str | Path) -> list[str]:
    """The absolute sources that one stands for: see :func:`~sbka_milvus.images.uris.absolute_source`."""
    return [absolute_source(text) for text in _without_braces(os.fspath(source))]


def _log_problem(uri: str, problem: str) -> None:
    _log.warning("Passed over %s: it %s.", printable(uri), problem)


def _without_braces(text: str) -> list[str]:
    if not has_braces(text) or (not is_remote(text) and os.path.lexists(text)):
        return [text]
    return expand_braces(text)


class _Search:
    """One search through all sources."""

    def __init__(self, report: OnProblem) -> None:
        self._report = report
        self._walk = Walk(lambda path, problem: report(str(path), problem))
        self._manifests: list[tuple[str, Manifest]] = []
        self._asked: list[str] = []
        self._steps: list[Callable[[], Iterator[PhotoFile]]] = []
        self._seen: set[str] = set()

    def add(self, text: str) -> None:
        """Takes a source, which has no braces."""
        if is_remote(text):
            self._add_remote(text)
            return
        path = absolute_source(text) if text else ""
        if not os.path.isdir(path) and (is_archive(path) or is_manifest(path)):
            for one in [path] if os.path.isfile(path) else _matching(path, text):
                checked_source(one)
                self._add_table_or_archive(one)
        elif (member := split_member(path)) and not os.path.lexists(path):
            checked_source(member[0])
            self._steps.append(lambda: self._archive(member[0], member[1].rstrip("/")))
        else:
            checked = checked_source(path)
            self._steps.append(lambda: self._walk.photos([checked]))

    def check(self) -> None:
        """Asks for the addresses that were named, some at once.

        Raises:
            SourceError: The first one that is not there.
        """
        for found in remote_files().look_at_all(self._asked) if self._asked else ():
            if isinstance(found, SourceError):
                raise found

    def photos(self) -> Iterator[PhotoFile]:
        """Everything, in its order."""
        for uri, manifest in self._manifests:
            yield from ManifestPhotos(uri, self._report, self._walk, self._seen).of(manifest.rows())
        for step in self._steps:
            yield from step()

    def _add_remote(self, uri: str) -> None:
        require_plain_address(uri)
        member = split_member(uri)
        if member is not None:
            self._asked.append(member[0])
            self._steps.append(lambda: self._archive(member[0], member[1].rstrip("/")))
        elif uri.endswith("/") or (not is_web(uri) and is_pattern(uri)):
            found = remote_files().find(uri)
            wild = not uri.endswith("/")
            photos = [one for one in found if has_image_suffix(one.uri) and not _is_hidden(one.uri, uri)]
            tables = [one.uri for one in found if wild and (is_archive(one.uri) or is_manifest(one.uri))]
            if not photos and not tables:
                raise SourceError(f"{printable(uri)} holds or matches no image.", "Check the address.")
            for one in tables:
                self._add_table_or_archive(one)
            self._steps.append(lambda: self._told(photos))
        elif is_archive(uri):
            self._asked.append(uri)
            self._add_table_or_archive(uri)
        elif is_manifest(uri):
            self._add_table_or_archive(uri)
        elif remote_files().is_folder(uri):
            self._add_remote(f"{uri}/")
        else:
            self._asked.append(uri)
            self._steps.append(lambda: self._alone(uri))

    def _add_table_or_archive(self, uri: str) -> None:
        if is_archive(uri):
            self._steps.append(lambda: self._archive(uri))
        else:
            # At an address it is fetched once, for both.
            data = remote_files().read(uri, _MAX_MANIFEST_BYTES) if is_remote(uri) else None
            manifest = Manifest(uri, data)
            manifest.check()
            self._manifests.append((uri, manifest))

    def _archive(self, uri: str, part: str = "") -> Iterator[PhotoFile]:
        contents = open_archives().open(uri, fresh=True).contents
        taken = False
        for subject, problem in contents.problems:
            if not part or subject == uri or subject.startswith(member_uri(uri, part)):
                taken = True
                self._report(subject, problem)
        for name, entry in contents.members.items():
            if part and name != part and not name.startswith(f"{part}/"):
                continue
            taken = True
            found = member_uri(uri, name)
            if found not in self._seen:
                self._seen.add(found)
                yield PhotoFile(found, Path(uri), entry.size, entry.stamp, contents.metadata.get(name))
        if not taken:
            self._report(member_uri(uri, part) if part else uri, "is not in the archive" if part else "holds no image")

    def _alone(self, uri: str) -> Iterator[PhotoFile]:
        if uri in self._seen:
            return
        try:
            yield from self._told([remote_files().look(uri)])
        except SourceError as error:
            self._report(uri, error.problem)

    def _told(self, files: Iterable[RemoteFile]) -> Iterator[PhotoFile]:
        for found in files:
            if found.uri not in self._seen:
                self._seen.add(found.uri)
                yield PhotoFile(found.uri, Path(found.uri), found.size, found.stamp)


def _is_hidden(uri: str, root: str) -> bool:
    """Whether a part of an address below the folder is hidden."""
    base = root.rpartition("/")[0] if not root.endswith("/") else root
    return any(part.startswith(".") for part in uri.removeprefix(base).split("/"))


def _matching(path: str, text: str) -> list[str]:
    """The archives or manifests that a pattern of absolute paths matches."""
    if not is_pattern(path):
        checked_source(path)  # which says what is wrong with it
        return [path]
    pattern = Pattern(path)
    found = pattern.expand()
    if pattern.recursive:
        # Links to folders are not followed, so loops end.
        below = (os.path.join(folder, name) for folder, _, names in os.walk(pattern.base) for name in names)  # noqa: PTH118
        found = sorted(one for one in below if pattern.matches(one))
    found = [one for one in found if os.path.isfile(one)]
    if not found:
        raise ImageError(f"The pattern {printable(text)} matches no file.", "Check it; a shell needs quotes.")
    return found

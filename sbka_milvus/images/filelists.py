"""Reads the file lists of SAKE and ZSE-SBIR: Sketchy-Ext (25 and 21), TU-Berlin-Ext, QuickDraw-Ext.

A data set lies in a root folder, and the lists of one of its splits in a folder of that (``zeroshot1`` is Sketchy-25,
``zeroshot0`` Sketchy-21, ``zeroshot`` the other two data sets)::

    Sketchy/256x256/photo/tx_000000000000_ready/cat/n02121620_1.jpg
    Sketchy/EXTEND_image_sketchy_ready/cat/n02121620_1.jpg
    Sketchy/zeroshot1/cname_cid.txt                    cat 0                 one line a seen class: name and id
    Sketchy/zeroshot1/cname_cid_zero.txt               wine_bottle 0         one line an unseen class
    Sketchy/zeroshot1/all_photo_filelist_train.txt     256x256/photo/... 0   one line an image: path from the root, id
    Sketchy/zeroshot1/all_photo_filelist_zero.txt

Both kinds of lines are split on their last space, since names and paths may hold spaces. The ids of a list whose name
ends in ``_zero`` are those of ``cname_cid_zero.txt``, the ids of any other list those of ``cname_cid.txt``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.categories import LabelledImage, match_categories
from sbka_milvus.images.source import printable

SEEN_CLASSES = "cname_cid.txt"
UNSEEN_CLASSES = "cname_cid_zero.txt"
_LIST_SUFFIX = ".txt"
_UNSEEN_LIST = "_zero"
_EXTENDED = "EXTEND_"


def is_file_list(source: str | Path) -> bool:
    """Whether a source is a file list, by its name.

    >>> is_file_list("Sketchy/zeroshot1/all_photo_filelist_zero.txt"), is_file_list("photos")
    (True, False)
    """
    path = Path(source)
    return path.suffix.lower() == _LIST_SUFFIX and not path.is_dir()


def classes_of(path: str | Path) -> Path:
    """The file that says which class the ids of a list mean.

    >>> classes_of("zeroshot/sketch_zero.txt").as_posix(), classes_of("zeroshot/sketch_train.txt").as_posix()
    ('zeroshot/cname_cid_zero.txt', 'zeroshot/cname_cid.txt')
    """
    place = Path(path)
    return place.with_name(UNSEEN_CLASSES if place.stem.endswith(_UNSEEN_LIST) else SEEN_CLASSES)


def read_classes(path: str | Path) -> dict[int, str]:
    """The class names of ``cname_cid.txt`` or ``cname_cid_zero.txt`` by id, in the order of the file.

    Raises:
        DatasetError: The file is missing, empty or malformed, or repeats a name or an id; names the line.
    """
    names: dict[int, str] = {}
    lines: dict[str, int] = {}
    for number, name, identity in _lines(path, "class"):
        if identity in names:
            raise _malformed(path, number, f"the id {identity} is {names[identity]!r} already", "Give each its own id.")
        if name in lines:
            raise _malformed(path, number, f"the class {name!r} stands in line {lines[name]}, too", "Remove one.")
        names[identity] = name
        lines[name] = number
    if not names:
        raise DatasetError(f"{printable(path)} names no class.", "Write one class and its id a line: wine_bottle 14")
    return names


def file_list_categories(path: str | Path) -> list[str]:
    """The categories of which a list has images, sorted.

    Raises:
        DatasetError: The list or its classes are missing or malformed.
    """
    return sorted({category for _, _, category in _listed(path)})


def file_list_images(
    path: str | Path, categories: Sequence[str] | None = None, *, root: str | Path | None = None
) -> list[LabelledImage]:
    """The images of a list, sorted by category in the order asked for, then by file name.

    An image that is listed twice with one class is one image.

    Args:
        path: the list; its ``cname_cid.txt`` or ``cname_cid_zero.txt`` lies beside it.
        categories: class names, matched by :func:`~sbka_milvus.images.match_categories`; None for all of the list.
        root: what the paths in the list start from; by default the folder above that of the list.

    Raises:
        DatasetError: The list or its classes are missing or malformed, a path leaves the root, an id is not known, an
            image is listed with two classes or does not exist, or a category has no image; names the file and line.
    """
    base = Path(os.path.abspath(path)).parent.parent if root is None else Path(root)  # noqa: PTH100 - keeps links
    found: dict[str, dict[Path, int]] = {}
    classes: dict[str, tuple[str, int]] = {}
    for number, relative, category in _listed(path):
        before, line = classes.setdefault(relative, (category, number))
        if before != category:
            raise _malformed(
                path, number, f"{relative!r} is {category!r} here and {before!r} in line {line}", "Correct one of them."
            )
        found.setdefault(category, {}).setdefault(base / relative, number)
    chosen = match_categories(sorted(found) if categories is None else categories, found, what="class of the list")
    _require_files(path, [item for category in chosen.values() for item in found[category].items()])
    return [
        LabelledImage(image, name)
        for name, category in chosen.items()
        for image in sorted(found[category], key=lambda one: (one.name, one))
    ]


def without_doubles(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Images without those that are there a second time under a folder ``EXTEND_...``.

    In the list of Sketchy-25, 2,499 of the 2,500 original photos come a second time, under
    ``EXTEND_image_sketchy_ready`` with the same class and file name. The standard protocol keeps both.

    >>> one = LabelledImage(Path("256x256/photo/cat/1.jpg"), "cat")
    >>> without_doubles([LabelledImage(Path("EXTEND_image/cat/1.jpg"), "cat"), one]) == [one]
    True
    """
    originals = {(image.category, image.path.name) for image in images if not _is_extension(image)}
    return [image for image in images if not _is_extension(image) or (image.category, image.path.name) not in originals]


def _is_extension(image: LabelledImage) -> bool:
    return any(part.startswith(_EXTENDED) for part in image.path.parts)


def _listed(path: str | Path) -> Iterator[tuple[int, str, str]]:
    """Line number, path from the root, and category of each line."""
    place = classes_of(path)
    if not place.exists() and Path(path).exists():
        raise DatasetError(
            f"{printable(path)} is read as a file list, and there is no {place.name} beside it.",
            "Name a folder of category folders, or put the list beside its classes.",
        )
    classes = read_classes(place)
    empty = True
    for number, relative, identity in _lines(path, "image"):
        empty = False
        if identity not in classes:
            raise _malformed(path, number, f"{printable(place)} has no id {identity}", "Use lists of one split.")
        normal = os.path.normpath(relative)
        if Path(normal).is_absolute() or Path(normal).parts[0] == os.pardir:
            raise _malformed(path, number, f"the path {relative!r} leaves the data set's root", "Make it relative.")
        yield number, normal, classes[identity]
    if empty:
        raise DatasetError(f"{printable(path)} lists no image.", "Write a path and a class id a line.")


def _lines(path: str | Path, what: str) -> Iterator[tuple[int, str, int]]:
    """Line number, text and id of each line that is not blank."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"The file {printable(path)} does not exist.", "Check the path.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetError(f"{printable(path)} cannot be read: {reason}.", "Name a readable file.") from error
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError as error:
            raise _malformed(path, number, "it is not UTF-8", "Save the file as UTF-8.") from error
        if not line:
            continue
        text, _, identity = line.rpartition(" ")
        # Only ASCII digits: int() takes '1_0' and digits of other scripts, too.
        if not text.strip() or not (identity.isascii() and identity.isdecimal()):
            raise _malformed(path, number, f"{line[:80]!r} is not {what}, space, id", f"Write the {what} and a number.")
        if "\0" in text:
            raise _malformed(path, number, "it holds a NUL character", "Write the list again.")
        yield number, text.strip(), int(identity)


def _require_files(path: str | Path, images: Sequence[tuple[Path, int]]) -> None:
    missing = [(number, image) for image, number in images if not image.is_file()]
    if not missing:
        return
    number, image = min(missing)
    more = "" if len(missing) == 1 else f" ({len(missing)} of {len(images)} listed images are missing)"
    raise _malformed(
        path,
        number,
        f"{printable(image)} does not exist{more}",
        "Put the folder of the lists into the data set's root, or a link to it, and unpack all images.",
    )


def _malformed(path: str | Path, number: int, problem: str, remedy: str) -> DatasetError:
    return DatasetError(f"{printable(path)}, line {number}: {problem}.", remedy)

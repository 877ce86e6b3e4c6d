"""What verdicts are worth to others: labelled sketches for a training, plain sketches for the gate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from sbka_milvus.feedback.log import FeedbackLog
from sbka_milvus.feedback.pairs import FeedbackPair
from sbka_milvus.images.datasets import LabelledImage, name_key


def labelled_sketches(
    log: FeedbackLog, seen: Iterable[str], unseen: Iterable[str] = ()
) -> tuple[list[LabelledImage], tuple[str, ...]]:
    """The accepted sketches whose category is known and may be learned.

    A sketch's category is the one that the user gave last; without one it is the name of the folder of the photos
    that were accepted for it, where they agree. Names are compared as
    :func:`~sbka_milvus.images.match_categories` does. A sketch of which anything, a category or a folder, names an
    unseen category is left out whatever else is said of it.

    Args:
        log: the verdicts.
        seen: the categories that a training may learn.
        unseen: the split's unseen categories.

    Returns:
        The sketches, ordered by their digests, with categories spelt as in ``seen``; and what was left out and why.

    Raises:
        GalleryError: The log is damaged.
    """
    names = {name_key(name): name for name in seen}
    forbidden = {name_key(name) for name in unseen}
    by_sketch: defaultdict[str, list[FeedbackPair]] = defaultdict(list)
    for pair in log.read():
        by_sketch[pair.sketch].append(pair)
    found: list[LabelledImage] = []
    left_out: Counter[str] = Counter()
    for _, pairs in sorted(by_sketch.items()):
        path, key, problem = log.sketch_file(pairs[-1]), None, ""
        if forbidden & _named(pairs):
            problem = "category kept unseen by the split"
        elif any(pair.verdict == "accepted" for pair in pairs):
            key, problem = _category(pairs)
        if key is not None and key not in names:
            problem = "category not trained on"
        elif key is not None and not path.is_file():
            problem = "file gone"
        if problem:
            left_out[problem] += 1
        elif key is not None:
            found.append(LabelledImage(path, names[key]))
    return found, tuple(f"Feedback sketches left out ({why}): {count}." for why, count in sorted(left_out.items()))


def stored_queries(log: FeedbackLog) -> list[Path]:
    """The distinct sketches of the log that are there, the one used last first.

    Raises:
        GalleryError: The log is damaged.
    """
    files = dict.fromkeys(log.sketch_file(pair) for pair in reversed(log.read()))
    return [file for file in files if file.is_file()]


def _named(pairs: Sequence[FeedbackPair]) -> set[str]:
    """Every category that something says of one sketch; the folder of a rejected photo says nothing."""
    given = {name_key(pair.category) for pair in pairs if pair.category is not None}
    return given | {_folder(pair) for pair in pairs if pair.verdict == "accepted"}


def _category(pairs: Sequence[FeedbackPair]) -> tuple[str | None, str]:
    accepted = [pair for pair in pairs if pair.verdict == "accepted"]
    given = [pair.category for pair in accepted if pair.category is not None]
    if given:
        return name_key(given[-1]), ""
    folders = {_folder(pair) for pair in accepted}
    return (folders.pop(), "") if len(folders) == 1 else (None, "accepted for photos of several folders")


def _folder(pair: FeedbackPair) -> str:
    return name_key(Path(pair.uri).parent.name)

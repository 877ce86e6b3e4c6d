"""The sketches that a training learns from: those of a folder, those made from its photos, or both."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.errors import DatasetError, SettingsError
from sbka_milvus.images import LabelledImage, Split, without_doubles
from sbka_milvus.pipelines.make_sketches import MakeOptions, make_sketches
from sbka_milvus.pipelines.seen import seen_images
from sbka_milvus.progress import Progress
from sbka_milvus.training.data import hold_out
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class TrainingSketches:
    """Sketches of the seen categories.

    Attributes:
        images: labelled as the training spells the categories.
        rejected: photos of which no sketch could be made, each with the reason.
        notes: what the user should know.
    """

    images: list[LabelledImage]
    rejected: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()


def sketches_beside(out: Path) -> Path:
    """The hidden folder beside a bundle's in which a training draws its pseudo-sketches.

    >>> sketches_beside(Path("/models/birds/")).as_posix()
    '/models/.birds.sketches'
    """
    place = Path(os.path.abspath(out))  # noqa: PTH100 - Path.resolve would follow a link
    return place.with_name(f".{place.name}.sketches")


def require_sketches(folder: Path | str | None, options: TrainingOptions) -> None:
    """Refuses a training that has no sketches and may not make any.

    Raises:
        SettingsError: There are none.
    """
    if folder is None and not options.pseudo_sketches:
        raise SettingsError(
            "There are no sketches to train on.",
            "Give --sketches, or --pseudo-sketches to have them made from the photos.",
        )


def training_sketches(
    folder: Path | None,
    photos: Sequence[LabelledImage],
    split: Split | None,
    options: TrainingOptions,
    cache: Path,
    team: Team,
    progress: Progress,
) -> TrainingSketches:
    """The sketches of the seen categories.

    Where there are sketches and pseudo-sketches are wanted, as many of these join each category as make up their
    share, or all that its photos give; but none joins a category that is held out to choose the best epoch, since a
    pseudo-sketch finds its own photo too easily. Where there are no sketches, all are pseudo-sketches.

    Args:
        folder: of sketches; none: all are made.
        photos: of the seen categories.
        split: which categories are seen.
        options: whether pseudo-sketches are made, their share, the share held out, the seed.
        cache: folder for the pseudo-sketches alone.
        team: who trains together: the first makes them for all.
        progress: what shows how far it is.

    Raises:
        SettingsError: There are no sketches and none may be made.
        DatasetError: The folder does not fit the split.
        OutputError: A sketch cannot be written.
        TrainingError: Another process of the team is gone.
    """
    require_sketches(folder, options)
    drawn = [] if folder is None else seen_images(folder, split)
    if not options.pseudo_sketches:
        return TrainingSketches(drawn)
    chosen = _photos_to_draw(drawn, without_doubles(photos), options)
    make = MakeOptions(seed=options.seed)
    report = make_sketches(chosen, cache, make, progress) if team.leads else None
    # The others wait for the first, and then find every sketch drawn.
    team.of_leader("drawn")
    report = report or make_sketches(chosen, cache, make, progress)
    if not report.sketches and not drawn:
        raise DatasetError(
            f"No sketch could be made of the {len(chosen)} photos: {report.rejected[0][1] if report.rejected else ''}",
            "Give photos that can be read, or sketches.",
        )
    note = f"{len(report.sketches)} of {len(drawn) + len(report.sketches)} sketches were made from photos."
    if not drawn:
        note += " The epoch was chosen by such sketches, too: its mAP says nothing of drawings by hand."
    return TrainingSketches([*drawn, *report.sketches], report.rejected, (note,))


def remove_cache(cache: Path) -> None:
    """Takes pseudo-sketches away that a finished training needs no more."""
    shutil.rmtree(cache, ignore_errors=True)


def _photos_to_draw(
    drawn: Sequence[LabelledImage], photos: Sequence[LabelledImage], options: TrainingOptions
) -> list[LabelledImage]:
    if not drawn:
        return list(photos)
    held = set(hold_out(sorted({i.category for i in [*photos, *drawn]}), options.validation_share, options.seed)[1])
    by_hand: defaultdict[str, int] = defaultdict(int)
    for sketch in drawn:
        by_hand[sketch.category] += 1
    of_category: defaultdict[str, list[LabelledImage]] = defaultdict(list)
    for photo in photos:
        of_category[photo.category].append(photo)
    chosen: list[LabelledImage] = []
    for number, (category, images) in enumerate(sorted(of_category.items())):
        if category in held and by_hand[category]:
            continue
        wanted = round(by_hand[category] * options.pseudo_share / (1 - options.pseudo_share)) or len(images)
        order = np.random.default_rng([options.seed, number]).permutation(len(images))[:wanted]
        chosen += [images[place] for place in sorted(order.tolist())]
    return chosen

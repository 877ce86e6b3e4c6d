"""Labelled photos and sketches as pixels, decoded once where memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.errors import DatasetError, ImageError
from sbka_milvus.images import LabelledImage, load_photo, load_sketch
from sbka_milvus.progress import Progress
from sbka_milvus.types import IntArray

CACHE_BYTES = 2 * 2**30
"""Pixels that a set of one modality keeps in memory."""
_CHUNK = 64

LoadPixels = Callable[[Path], NDArray[np.uint8]]


class PixelSet:
    """Pictures of one modality with the index of their category.

    Pictures are decoded when the set is made; as many as fit into ``cache_bytes`` stay in memory as uint8, the others
    are read again when asked for.

    Attributes:
        labels: shape (N,), int64.
        rejected: files that could not be used, each with the reason.
        first_reasons: the first of these reasons by category.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        classes: Sequence[str],
        load: LoadPixels,
        *,
        cache_bytes: int = CACHE_BYTES,
        workers: int = 2,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        index = {category: position for position, category in enumerate(classes)}
        self._load = load
        self._workers = workers
        self._paths: list[Path] = []
        self._cache: list[torch.Tensor | None] = []
        self.rejected: list[tuple[Path, str]] = []
        self.first_reasons: dict[str, str] = {}
        labels: list[int] = []
        held = 0
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(images), _CHUNK):
                chunk = images[start : start + _CHUNK]
                for image, pixels in zip(chunk, pool.map(self._try_load, [item.path for item in chunk]), strict=True):
                    if isinstance(pixels, str):
                        self.rejected.append((image.path, pixels))
                        self.first_reasons.setdefault(image.category, pixels)
                        continue
                    held += pixels.numel()
                    self._paths.append(image.path)
                    self._cache.append(pixels if held <= cache_bytes else None)
                    labels.append(index[image.category])
                advance(len(chunk))
        self.labels: IntArray = np.asarray(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._paths)

    def _try_load(self, path: Path) -> torch.Tensor | str:
        try:
            return torch.from_numpy(np.ascontiguousarray(self._load(path).transpose(2, 0, 1)))
        except ImageError as error:
            return error.problem

    def pixels(self, indices: IntArray) -> torch.Tensor:
        """shape (len(indices), 3, S, S), uint8.

        Raises:
            DatasetError: A file that could be read before cannot be read any more.
        """
        wanted = [int(index) for index in indices]
        missing = [index for index in wanted if self._cache[index] is None]
        loaded: dict[int, torch.Tensor] = {}
        if missing:
            with ThreadPoolExecutor(self._workers) as pool:
                for index, pixels in zip(
                    missing, pool.map(self._try_load, [self._paths[index] for index in missing]), strict=True
                ):
                    if isinstance(pixels, str):
                        raise DatasetError(
                            f"A training picture became unreadable: {pixels}", "Leave the data alone while training."
                        )
                    loaded[index] = pixels
        return torch.stack([self._pick(index, loaded) for index in wanted])

    def _pick(self, index: int, loaded: dict[int, torch.Tensor]) -> torch.Tensor:
        cached = self._cache[index]
        return loaded[index] if cached is None else cached


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a training reads.

    Attributes:
        classes: the training categories, in the order of the student's head.
        photos: labelled by index into ``classes``.
        sketches: labelled likewise.
        validation_classes: seen categories held out as pseudo-unseen; may be empty.
        validation_photos: labelled by index into ``validation_classes``.
        validation_sketches: labelled likewise.
    """

    classes: tuple[str, ...]
    photos: PixelSet
    sketches: PixelSet
    validation_classes: tuple[str, ...]
    validation_photos: PixelSet
    validation_sketches: PixelSet

    @property
    def rejected(self) -> list[tuple[Path, str]]:
        """All files that could not be used, each with the reason."""
        sets = (self.photos, self.sketches, self.validation_photos, self.validation_sketches)
        return [entry for pixel_set in sets for entry in pixel_set.rejected]


def hold_out(classes: Sequence[str], share: float, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits seen categories into those trained on and the pseudo-unseen ones that choose the best epoch.

    Args:
        classes: seen categories.
        share: of them to hold out; at least two are held out where it is above 0, and at least two stay.
        seed: of the choice.

    Raises:
        DatasetError: There are too few categories.
    """
    names = sorted(classes)
    count = max(2, round(share * len(names))) if share > 0 else 0
    if len(names) - count < 2:
        raise DatasetError(
            f"{len(names)} seen categories are too few to train on with {count} of them held out.",
            "Give more categories, or set the validation share to 0.",
        )
    chosen = set(np.random.default_rng(seed).permutation(len(names))[:count].tolist())
    held = tuple(name for position, name in enumerate(names) if position in chosen)
    return tuple(name for name in names if name not in held), held


@dataclass(frozen=True, slots=True)
class PixelLoaders:
    """How the two modalities become pixels, shape (S, S, 3), uint8; S may be another for photos than for sketches.

    Attributes:
        photo: of a training photo.
        sketch: of a training sketch.
        held_out: how the pictures become pixels that choose the best epoch; none: as those that are trained on.
    """

    photo: LoadPixels
    sketch: LoadPixels
    held_out: PixelLoaders | None = None

    @classmethod
    def of_sizes(cls, preprocessing: Preprocessing, photo: int, sketch: int) -> PixelLoaders:
        """Those of the pictures of a training.

        Args:
            preprocessing: of the student, at whose size the best epoch is chosen, as the model will serve.
            photo: side of training photos in pixels: the student's, or a larger one of its teacher.
            sketch: side of training sketches, likewise.
        """
        size = preprocessing.size
        held_out = None if (photo, sketch) == (size, size) else cls.of_sizes(preprocessing, size, size)
        cut_photo, cut_sketch = (replace(preprocessing, size=side).pixels for side in (photo, sketch))
        return cls(
            lambda path: cut_photo(load_photo(path, target_size=photo)),
            lambda path: cut_sketch(load_sketch(path, size=sketch)),
            held_out,
        )


def load_training_data(
    photos: Sequence[LabelledImage],
    sketches: Sequence[LabelledImage],
    loaders: PixelLoaders,
    *,
    validation_share: float,
    seed: int,
    progress: Progress,
    workers: int = 2,
) -> TrainingData:
    """Reads the photos and sketches of the seen categories.

    Raises:
        DatasetError: A category lacks photos or sketches, or too few are left.
    """
    classes = require_both(photos, sketches)
    train, held = hold_out(classes, validation_share, seed)
    measured = loaders.held_out or loaders
    with progress.stage("Reading pictures", len(photos) + len(sketches), "images") as advance:

        def read(images: Sequence[LabelledImage], names: tuple[str, ...], load: LoadPixels) -> PixelSet:
            chosen = [image for image in images if image.category in set(names)]
            return PixelSet(chosen, names, load, workers=workers, advance=advance)

        data = TrainingData(
            classes=train,
            photos=read(photos, train, loaders.photo),
            sketches=read(sketches, train, loaders.sketch),
            validation_classes=held,
            validation_photos=read(photos, held, measured.photo),
            validation_sketches=read(sketches, held, measured.sketch),
        )
    require_all_classes(train, data.photos, "photos")
    require_all_classes(train, data.sketches, "sketches")
    require_all_classes(held, data.validation_photos, "photos")
    require_all_classes(held, data.validation_sketches, "sketches")
    return data


def require_both(photos: Sequence[LabelledImage], sketches: Sequence[LabelledImage]) -> list[str]:
    """The categories, sorted, of which there are both photos and sketches.

    Raises:
        DatasetError: One has only photos, or only sketches.
    """
    classes = sorted({image.category for image in photos} | {image.category for image in sketches})
    for kind, images in (("photos", photos), ("sketches", sketches)):
        without = sorted(set(classes) - {image.category for image in images})
        if without:
            raise DatasetError(
                f"{len(without)} categories have no {kind}, for example {without[0]!r}.",
                "Every seen category needs both photos and sketches.",
            )
    return classes


def require_all_classes(classes: Sequence[str], pixel_set: PixelSet, kind: str) -> None:
    """Refuses a set in which a category has no picture.

    Args:
        classes: that the set's labels count.
        pixel_set: to look at.
        kind: ``photos`` or ``sketches``, for the message.

    Raises:
        DatasetError: None of the pictures of a category could be read.
    """
    readable = set(pixel_set.labels.tolist())
    empty = [name for position, name in enumerate(classes) if position not in readable]
    if empty:
        reason = pixel_set.first_reasons.get(empty[0], "there are none.")
        raise DatasetError(f"None of the {kind} of {empty[0]!r} can be read: {reason}", "Replace or remove them.")

"""What a bundle keeps of its training: a sample of encoded pictures, and how sure searches with it may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbka_milvus.encoders.statistics import MAX_ROWS, ModelStatistics, write_statistics
from sbka_milvus.errors import DatasetError
from sbka_milvus.images import LabelledImage
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.confidence_fit import fit_confidence, rows_of
from sbka_milvus.pipelines.labelled import LabelledVectors, encode_images
from sbka_milvus.progress import Progress
from sbka_milvus.protocols import Encoder
from sbka_milvus.rankers.confidence import Labelled

_HELD_ROWS = 1000
"""Sketches, and photos, of pseudo-unseen categories that are encoded: they are not kept."""


@dataclass(frozen=True, slots=True)
class KnownPictures:
    """Pictures of seen categories.

    Attributes:
        sketches: of the trained categories.
        photos: of the same.
        held_sketches: of pseudo-unseen categories, which the model was not trained on; may be empty.
        held_photos: of the same.
    """

    sketches: Sequence[LabelledImage]
    photos: Sequence[LabelledImage]
    held_sketches: Sequence[LabelledImage] = ()
    held_photos: Sequence[LabelledImage] = ()

    @classmethod
    def of_training(
        cls,
        sketches: Sequence[LabelledImage],
        photos: Sequence[LabelledImage],
        classes: Sequence[str],
        held: Sequence[str],
    ) -> KnownPictures:
        """Parts pictures by their categories; names that differ in case, ' ', '_' or '-' are one.

        Args:
            sketches: of any categories; those of neither kind are left out.
            photos: the same.
            classes: the trained categories.
            held: the pseudo-unseen ones.

        Raises:
            DatasetError: There is no sketch or no photo of a trained category.
        """
        trained, kept = ({name_key(name) for name in names} for names in (classes, held))

        def of(images: Sequence[LabelledImage], keys: set[str]) -> list[LabelledImage]:
            return [image for image in images if name_key(image.category) in keys]

        known = cls(of(sketches, trained), of(photos, trained), of(sketches, kept), of(photos, kept))
        if not known.sketches or not known.photos:
            kind = "photos" if known.sketches else "sketches"
            raise DatasetError(
                f"None of the {kind} is of a category that the model was trained on, such as "
                f"{next(iter(classes), 'any')!r}.",
                "Give folders whose subfolders are named as those of the training.",
            )
        return known


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """What was made.

    Attributes:
        statistics: as written.
        notes: what the user should know.
    """

    statistics: ModelStatistics
    notes: tuple[str, ...]


def make_statistics(
    folder: Path, pictures: KnownPictures, encoder: Encoder, size: int, progress: Progress, *, seed: int = 0
) -> StatisticsReport:
    """Encodes a sample of known pictures, fits the confidence of each form of search, and puts both into the bundle.

    Args:
        folder: of the bundle.
        pictures: of seen categories alone.
        encoder: of the bundle.
        size: side of the encoder's input in pixels.
        progress: what shows how far it is.
        seed: of the sample and of the simulated searches.

    Raises:
        DatasetError: None of the sketches, or of the photos, can be read.
        BundleError: There is no bundle.
        OutputError: The file cannot be written.
    """

    def encode(images: Sequence[LabelledImage], limit: int, sketches: bool) -> LabelledVectors | None:
        sample = sample_images(images, limit, seed)
        return encode_images(sample, encoder, sketches=sketches, size=size, progress=progress) if sample else None

    sketches, photos = encode(pictures.sketches, MAX_ROWS, True), encode(pictures.photos, MAX_ROWS, False)
    if sketches is None or photos is None:
        raise DatasetError("There are no sketches or no photos of seen categories.", "Give folders of both.")
    trained = _common(sketches, photos)
    held = _held(encode(pictures.held_sketches, _HELD_ROWS, True), encode(pictures.held_photos, _HELD_ROWS, False))
    confidence, notes = fit_confidence(trained, held, progress, seed=seed)
    statistics = ModelStatistics(sketches.vectors, photos.vectors, confidence)
    write_statistics(folder, statistics)
    return StatisticsReport(statistics, notes)


def sample_images(images: Sequence[LabelledImage], limit: int, seed: int) -> list[LabelledImage]:
    """At most ``limit`` of the images, from each category as evenly as there are; the same ones for the same seed.

    Args:
        images: of any number of categories; their order does not matter.
        limit: at least 1. Where there are more categories than that, some have no picture in the sample.
        seed: of the draw.
    """
    of_category: defaultdict[str, list[LabelledImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (image.category, str(image.path))):
        of_category[image.category].append(image)
    rng = np.random.default_rng(seed)
    turns = [
        (turn, float(lot), image)
        for members in of_category.values()
        for turn, (lot, image) in enumerate(
            zip(rng.random(len(members)), [members[place] for place in rng.permutation(len(members))], strict=True)
        )
    ]
    chosen = sorted(turns, key=lambda entry: entry[:2])[:limit]
    return sorted((image for _, _, image in chosen), key=lambda image: (image.category, str(image.path)))


def _held(sketches: LabelledVectors | None, photos: LabelledVectors | None) -> tuple[Labelled, Labelled] | None:
    return None if sketches is None or photos is None else _common(sketches, photos)


def _common(sketches: LabelledVectors, photos: LabelledVectors) -> tuple[Labelled, Labelled]:
    """Those of categories that have both, spelt alike."""
    parts = [Labelled(part.vectors, [name_key(name) for name in part.categories]) for part in (sketches, photos)]
    both = set(parts[0].categories) & set(parts[1].categories)
    one, other = (rows_of(part, np.isin(np.array(part.categories), sorted(both))) for part in parts)
    return one, other

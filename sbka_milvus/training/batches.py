"""The batches of a training: drawn, decoded, augmented and scaled; what is random in them can be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.training.augment import affine_matrices, move
from sbka_milvus.training.data import PixelSet, TrainingData
from sbka_milvus.training.distributed import Team
from sbka_milvus.training.options import TrainingOptions
from sbka_milvus.training.redraw import redraw, stroke_changes
from sbka_milvus.training.sampler import make_sampler
from sbka_milvus.training.task import Batch
from sbka_milvus.types import IntArray


class BatchSource:
    """Makes the batches of each epoch; of each, the share of this process where several train together.

    All processes draw the same batches and the same augmentation, so that a picture is treated alike whoever has it.
    """

    def __init__(self, data: TrainingData, options: TrainingOptions, preprocessing: Preprocessing, team: Team) -> None:
        """Starts with all pictures undrawn.

        Args:
            data: what to draw from.
            options: batch sizes, probability of augmentation, seed.
            preprocessing: brings pixels to the backbone's range.
            team: who trains together, and on which device this process does.

        Raises:
            TrainingError: There are too few pictures.
        """
        self._data = data
        self._options = options
        self._preprocessing = preprocessing
        self._team = team
        self._sampler = make_sampler(data.sketches.labels, data.photos.labels, options, team)
        self._generator = torch.Generator().manual_seed(options.seed)

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self._sampler)

    def epoch(self, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch of which ``done`` were made before.

        Nothing is drawn ahead, so :meth:`state` stands between two batches.

        Raises:
            DatasetError: A picture that could be read before cannot be read any more.
        """
        data = self._data
        for sketches, photos in self._sampler.epoch(done):
            yield Batch(
                self._pixels(data.sketches, sketches, white_ground=True),
                self._labels(data.sketches, sketches),
                self._pixels(data.photos, photos, white_ground=False),
                self._labels(data.photos, photos),
            )

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` needs to go on with the very batches that would come next."""
        return {"sampler": self._sampler.state(), "augmentation": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from where :meth:`state` was taken."""
        self._sampler.load_state(state["sampler"])
        self._generator.set_state(state["augmentation"])

    def _labels(self, source: PixelSet, indices: IntArray) -> torch.Tensor:
        return torch.from_numpy(source.labels[indices[self._team.share]]).to(self._team.device)

    def _pixels(self, source: PixelSet, indices: IntArray, *, white_ground: bool) -> torch.Tensor:
        matrices = affine_matrices(len(indices), self._options.augment_probability, self._generator)
        pixels = source.pixels(indices[self._team.share]).to(self._team.device)
        moved = move(pixels, matrices[self._team.share], white_ground=white_ground)
        # Nothing is drawn from the generator unless asked: else the draws that follow would be others.
        if white_ground and self._options.stroke_augmentation:
            changes = stroke_changes(len(indices), self._options.stroke_augmentation, self._generator)
            moved = redraw(moved, changes.share(self._team.share))
        return self._preprocessing.scale(moved)

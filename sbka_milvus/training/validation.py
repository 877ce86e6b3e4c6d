"""How good a student is on categories that it does not train on."""

from __future__ import annotations

import numpy as np
import torch

from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent
from sbka_milvus.evaluation import mean_average_precision, rank_one_to_one, relevance_matrix
from sbka_milvus.training.data import PixelSet, TrainingData
from sbka_milvus.types import FloatArray, normalise

VALIDATION_BATCH = 64


def validation_map(
    student: SbkaStudent, data: TrainingData, precision: Precision, device: torch.device
) -> float | None:
    """mAP@all of pseudo-unseen sketches against pseudo-unseen photos, one-to-one; none where none are held out.

    Args:
        student: is left in eval mode.
        data: its validation part is read.
        precision: how the student runs.
        device: where it is.
    """
    if not data.validation_classes:
        return None
    student.eval()
    sketches, photos = (
        _vectors(student, pixel_set, precision, device)
        for pixel_set in (data.validation_sketches, data.validation_photos)
    )
    ranked = data.validation_photos.labels[rank_one_to_one(sketches, photos)]
    return mean_average_precision(relevance_matrix(ranked, data.validation_sketches.labels))


def _vectors(student: SbkaStudent, source: PixelSet, precision: Precision, device: torch.device) -> FloatArray:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(source), VALIDATION_BATCH):
            indices = np.arange(start, min(start + VALIDATION_BATCH, len(source)))
            scaled = student.backbone.preprocessing.scale(source.pixels(indices).to(device))
            parts.append(precision.run(student.backbone, scaled).cpu().numpy())
    return normalise(np.concatenate(parts))

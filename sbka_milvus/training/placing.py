"""Where a student's features lie among those of its teacher before the training: the isometry's start.

A random place in a large space is far from all that the teacher makes, and the way from there takes most of a short
training. The best place is known in closed form: the isometry under which the features of some pictures, as both
networks see them now, fit best (orthogonal Procrustes; Schoenemann 1966).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from sbka_milvus.encoders.precision import Precision
from sbka_milvus.encoders.sbka import SbkaStudent, SbkaTeacher
from sbka_milvus.encoders.view import translate
from sbka_milvus.training.data import PixelSet, TrainingData

LOOKED_AT = 384
"""Pictures of a modality."""
_BATCH = 64


def place(
    student: SbkaStudent, teacher: SbkaTeacher | None, data: TrainingData, precision: Precision, *, sketches: bool
) -> None:
    """Starts a student's isometry where its features fit best; nothing where it has none.

    Args:
        student: is left in the mode it was in, and learns nothing but the place.
        teacher: none: nothing is done.
        data: of its training part evenly spaced pictures are looked at, as they are; nothing random is drawn.
        precision: how the networks run.
        sketches: look at sketches, too, and not at photos alone.
    """
    if student.isometry is None or teacher is None:
        return
    training, sets = student.training, [data.photos, *([data.sketches] if sketches else [])]
    student.eval()
    with torch.no_grad():
        pairs = [_features(student, teacher, one, precision) for one in sets]
        mine, theirs = (torch.cat(rows) for rows in zip(*pairs, strict=True))
        small, large = (mine, theirs) if mine.shape[1] < theirs.shape[1] else (theirs, mine)
        student.isometry.weight.copy_(best_isometry(small, large))
    student.train(training)


def best_isometry(small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
    """The orthonormal columns W that make the sum over rows of cos(W small, large) greatest.

    Args:
        small: shape (B, S), float32.
        large: shape (B, L), float32, of the same pictures, L at least S.

    Returns:
        shape (L, S), float32.

    >>> turned = torch.tensor([[0.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
    >>> best_isometry(torch.eye(2), torch.eye(2) @ turned.T).round().abs().tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    """
    one, other = (functional.normalize(rows, dim=-1) for rows in (small, large))
    left, _, right = torch.linalg.svd(other.T @ one, full_matrices=False)
    best: torch.Tensor = left @ right
    return best


def _features(
    student: SbkaStudent, teacher: SbkaTeacher, pictures: PixelSet, precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    own, other = student.backbone.preprocessing, teacher.backbone.preprocessing
    device = next(student.parameters()).device
    wanted = np.unique(np.linspace(0, len(pictures) - 1, min(LOOKED_AT, len(pictures))).astype(np.int64))
    mine, theirs = [], []
    for start in range(0, len(wanted), _BATCH):
        pixels = own.scale(pictures.pixels(wanted[start : start + _BATCH]).to(device))
        mine.append(precision.run(student.backbone, translate(pixels, own, own)))
        theirs.append(precision.run(teacher.backbone, translate(pixels, own, other)))
    return torch.cat(mine), torch.cat(theirs)

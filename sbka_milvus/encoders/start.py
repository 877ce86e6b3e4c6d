"""A backbone that starts from a model bundle: its weights, and how it wants its pictures.

So a small student can begin as the first levels of its teacher (see :mod:`~sbka_milvus.encoders.levels`), and a model
can be trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sbka_milvus.encoders.additions import split_options
from sbka_milvus.encoders.bundle import read_bundle
from sbka_milvus.encoders.preprocessing import Preprocessing
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BackboneError


@dataclass(frozen=True, slots=True)
class Start:
    """What a bundle gives to a backbone that is built anew.

    Attributes:
        state: its weights by name, floating ones as float32.
        options: arguments of its architecture.
        preprocessing: entries of :class:`~sbka_milvus.encoders.preprocessing.Preprocessing`, all but the size.
        size: side of its input in pixels.
    """

    state: dict[str, torch.Tensor]
    options: dict[str, Any]
    preprocessing: dict[str, Any]
    size: int


def read_start(folder: Path, spec: BackboneSpec) -> Start:
    """Reads a bundle to start from.

    Args:
        folder: the bundle's.
        spec: the backbone that is to start from it; its tag does not matter.

    Raises:
        BundleError: There is no bundle, or a part of it is damaged.
        BackboneError: It is of another network, or not a whole one.
    """
    manifest, state = read_bundle(folder)
    found = BackboneSpec.parse(manifest.backbone)
    if (found.library, found.model) != (spec.library, spec.model):
        raise BackboneError(
            f"The model {folder} is of {found}, so that {spec} cannot start from it.",
            f"Name its own backbone, {found.library}:{found.model}.",
        )
    options, changes = split_options(manifest.options)
    if changes:
        what = ", ".join(f"{name}={size}" for name, size in changes.items())
        raise BackboneError(
            f"The model {folder} is {found} with {what}: no backbone can start from it.",
            "Start from the weights that it was trained from, or from a model without.",
        )
    stated = Preprocessing.from_dict(manifest.preprocessing)
    preprocessing = {one.name: getattr(stated, one.name) for one in fields(stated) if one.name != "size"}
    wide = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return Start(wide, options, preprocessing, stated.size)

"""How near each seen category is to each class of the knowledge head: the WordNet affinity file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.datasets import name_key


def load_affinity(path: Path, classes: tuple[str, ...], n_known: int) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Reads an affinity file for the categories at hand.

    Args:
        path: npz with ``categories`` (S names) and ``affinity``, shape (S, C), in [0, 1].
        classes: seen categories, in the order of the student's head.
        n_known: C, the classes of the knowledge head.

    Returns:
        shape (len(classes), C), float32, zero where the file knows nothing of a category; and those categories.

    Raises:
        DatasetError: The file cannot be read, or is of another form or width.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = [str(name) for name in archive["categories"]]
            values = np.asarray(archive["affinity"], dtype=np.float32)
    except Exception as error:
        # A damaged archive fails inside zipfile, zlib or NumPy with whatever its bytes happen to say.
        raise DatasetError(
            f"The affinity file {path} cannot be read: {str(error).rstrip('.')}.",
            "It must be an npz with arrays 'categories' and 'affinity'.",
        ) from error
    if values.shape != (len(names), n_known):
        raise DatasetError(
            f"The affinity file {path} has shape {values.shape}; {(len(names), n_known)} is needed.",
            "Its columns are the classes of the knowledge head (1,000 for ImageNet).",
        )
    if not np.isfinite(values).all():
        raise DatasetError(
            f"The affinity file {path} has entries that are not finite.", "They must lie between 0 and 1."
        )
    rows = {name_key(name): row for row, name in enumerate(names)}
    table = torch.zeros(len(classes), n_known)
    unknown = []
    for position, category in enumerate(classes):
        row = rows.get(name_key(category))
        if row is None:
            unknown.append(category)
        else:
            table[position] = torch.from_numpy(values[row])
    return table, tuple(unknown)

"""How near the names of seen categories are to one another, by word vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from sbka_milvus.errors import DatasetError
from sbka_milvus.images.datasets import name_key


def load_nearness(path: Path, classes: tuple[str, ...], temperature: float) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Reads the word vectors of the seen categories; those of others are not looked at.

    Args:
        path: npz with ``names`` (S names) and ``vecs``, shape (S, D).
        classes: seen categories, in the order of the student's head.
        temperature: of the softmax over cosines.

    Returns:
        shape (len(classes), len(classes)), float32: row i is a softmax of the cosines of category i's vector with
        those of the other categories, zero for itself; where the file knows nothing of a category it stands for
        itself alone, and for no other. And those categories.

    Raises:
        DatasetError: The file cannot be read, or is of another form, or knows fewer than two of the categories.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            rows = {name_key(str(name)): row for row, name in enumerate(archive["names"])}
            found = {category: rows[name_key(category)] for category in classes if name_key(category) in rows}
            vectors = np.asarray(archive["vecs"][list(found.values())], dtype=np.float32)
    except Exception as error:
        # A damaged archive fails inside zipfile, zlib or NumPy with whatever its bytes happen to say.
        raise DatasetError(
            f"The file of word vectors {path} cannot be read: {str(error).rstrip('.')}.",
            "It must be an npz with arrays 'names' and 'vecs', one row a name.",
        ) from error
    if vectors.ndim != 2 or len(found) < 2:
        raise DatasetError(
            f"The file of word vectors {path} has vectors for {len(found)} of {len(classes)} seen categories; "
            "two are needed at least.",
            "Its names must be those of the categories, its vectors one row a name.",
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise DatasetError(f"The file of word vectors {path} has a vector without direction.", "Mend or remove it.")
    return _soften(torch.from_numpy(vectors), list(found), classes, temperature)


def _soften(
    vectors: torch.Tensor, found: list[str], classes: tuple[str, ...], temperature: float
) -> tuple[torch.Tensor, tuple[str, ...]]:
    unit = functional.normalize(vectors, dim=1)
    near = (unit @ unit.T / temperature).fill_diagonal_(float("-inf")).softmax(dim=1)
    places = torch.tensor([classes.index(category) for category in found])
    table = torch.eye(len(classes))
    table[places[:, None], places] = near
    return table, tuple(category for category in classes if category not in found)

"""What a model knows of its training's pictures: a sample of their vectors, and the confidence fitted on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from sbka_milvus.encoders.manifest import read_manifest
from sbka_milvus.errors import BundleError, InvalidValue
from sbka_milvus.files import replacing
from sbka_milvus.types import FloatArray, require_unit_rows

STATISTICS_FILE = "statistics.npz"
"""In the bundle's folder. It decides no vector, so it is no part of the fingerprint, and a bundle may have none."""
MAX_ROWS = 2000
"""The most sketches, and the most photos, of which a bundle keeps the vectors."""

_REMEDY = "Delete the file, or make it anew with `sbka model statistics`."


@dataclass(frozen=True, slots=True, eq=False)
class ModelStatistics:
    """Vectors of pictures that a model was trained on.

    Attributes:
        sketches: shape (B, D), float32, unit rows, 1 <= B <= 2000: of sketches.
        photos: shape (C, D), float32, unit rows, 1 <= C <= 2000: of photos, which serve as the cohort of a confidence.
        confidence: of :mod:`sbka_milvus.rankers.served_confidence`, as plain values for JSON; none: it is not fitted.

    >>> ModelStatistics(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)).sketch_mean.tolist()
    [0.5, 0.5]
    """

    sketches: FloatArray
    photos: FloatArray
    confidence: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, vectors in (("sketches", self.sketches), ("photos", self.photos)):
            require_unit_rows(vectors, name)
            if not 1 <= len(vectors) <= MAX_ROWS:
                raise InvalidValue(f"A model's statistics hold {len(vectors)} {name}; 1 to {MAX_ROWS} are allowed.")
        if self.sketches.shape[1] != self.photos.shape[1]:
            raise InvalidValue(
                f"Sketches of dimension {self.sketches.shape[1]} do not fit photos of {self.photos.shape[1]}."
            )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.sketches.shape[1])

    @property
    def sketch_mean(self) -> NDArray[np.float64]:
        """shape (D,), float64: mean of the sketches' vectors."""
        return np.asarray(self.sketches.mean(axis=0, dtype=np.float64))


def write_statistics(folder: Path, statistics: ModelStatistics) -> None:
    """Puts the statistics into a bundle's folder, in place of earlier ones; a reader sees the old or the new file.

    Equal statistics make equal files.

    Raises:
        BundleError: There is no bundle, or its vectors are of another length.
        OutputError: The file cannot be written.
    """
    manifest = read_manifest(folder)
    if statistics.dim != manifest.dim:
        raise BundleError(
            f"Statistics of dimension {statistics.dim} do not fit the model {folder} of dimension {manifest.dim}.",
            "Make them with that model.",
        )
    with replacing(folder / STATISTICS_FILE) as file:
        np.savez(
            file,
            sketches=statistics.sketches,
            photos=statistics.photos,
            confidence=np.frombuffer(json.dumps(statistics.confidence).encode(), dtype=np.uint8),
            fingerprint=np.array(manifest.fingerprint),
        )


def read_statistics(folder: Path) -> ModelStatistics | None:
    """The statistics in a bundle's folder; none where it has none.

    Raises:
        BundleError: There is no bundle, or the file is damaged, or it is of another model.
    """
    manifest = read_manifest(folder)
    path = folder / STATISTICS_FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            parts = {name: np.asarray(content[name]) for name in ("sketches", "photos", "confidence", "fingerprint")}
        statistics = ModelStatistics(
            parts["sketches"], parts["photos"], _confidence(parts["confidence"].tobytes().decode())
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from error
    # Memory: the head of an array may claim any size.
    except (ValueError, KeyError, EOFError, BadZipFile, ZlibError, RuntimeError, MemoryError) as error:
        raise BundleError(f"{path} is damaged: {error}", _REMEDY) from error
    if (str(parts["fingerprint"]), statistics.dim) != (manifest.fingerprint, manifest.dim):
        raise BundleError(
            f"{path} is of the model {parts['fingerprint']} of dimension {statistics.dim}, and the bundle is "
            f"{manifest.fingerprint} of dimension {manifest.dim}.",
            _REMEDY,
        )
    return statistics


def _confidence(text: str) -> dict[str, Any] | None:
    values = json.loads(text)
    if values is not None and not isinstance(values, dict):
        raise ValueError("its confidence is no table")
    return values

"""The manifest of a model bundle: everything about a model but its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sbka_milvus.errors import BundleError

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"


class Manifest(BaseModel):
    """``manifest.json`` of a model bundle.

    Attributes:
        format_version: of the bundle's layout.
        name: what people call the model.
        backbone: name of the backbone, as :class:`~sbka_milvus.encoders.spec.BackboneSpec` reads it.
        options: arguments that rebuild its architecture.
        preprocessing: see :class:`~sbka_milvus.encoders.preprocessing.Preprocessing`.
        dim: length of a vector.
        classes: seen categories, in the order of the student's head; empty for a model that was not trained here.
        training: record of the training: settings, data, metrics; empty for a model that was not trained here.
        fingerprint: of architecture, weights, preprocessing and dimension.
        weights_digest: BLAKE2b of the weights file, to notice damage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT_VERSION
    name: str
    backbone: str
    options: dict[str, Any] = Field(default_factory=dict)
    preprocessing: dict[str, Any]
    dim: int = Field(gt=0)
    classes: tuple[str, ...] = ()
    training: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str
    weights_digest: str


def read_manifest(folder: Path) -> Manifest:
    """The manifest alone, without loading weights.

    Raises:
        BundleError: There is no bundle, or its manifest is damaged or of another version.
    """
    path = folder / MANIFEST_FILE
    content = b""
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate_json(content)
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} is no model bundle: it has no {MANIFEST_FILE}.",
            "Make one with `sbka train` or `sbka model import`.",
        ) from error
    except OSError as error:
        raise BundleError(f"The model bundle {folder} cannot be read: {error.strerror}.", "Check the path.") from error
    except ValidationError as error:
        _require_format(path, _stated_format(content))
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its JSON"
        raise BundleError(f"{path} is damaged at {where}: {first['msg']}.", "Make the bundle again.") from error
    _require_format(path, manifest.format_version)
    return manifest


def _stated_format(content: bytes) -> object:
    """A later format may have entries that this version cannot check, so its number is looked up on its own."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return FORMAT_VERSION
    version = values.get("format_version") if isinstance(values, dict) else None
    return version if isinstance(version, int) else FORMAT_VERSION


def _require_format(path: Path, version: object) -> None:
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format {version}; this version reads {FORMAT_VERSION}.",
            "Upgrade sbka-milvus or make the bundle again.",
        )

"""The manifest of a model bundle: everything about a model but its numbers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FORMAT_VERSION = 1


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

"""The forms of matching, as an option offers them."""

from __future__ import annotations

from enum import StrEnum


class Matching(StrEnum):
    """See :mod:`sbka_milvus.pipelines.index_form`."""

    AUTO = "auto"
    FUSED = "fused"
    LINEAR = "linear"

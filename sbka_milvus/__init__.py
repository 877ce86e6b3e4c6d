"""Sketch-to-photo search for Milvus: draw a sketch, find the photos.

>>> from sbka_milvus import SketchSearch
>>> search = SketchSearch.open("gallery/")  # doctest: +SKIP
>>> for hit in search("cat.png", k=10):  # doctest: +SKIP
...     print(hit.rank, hit.score, hit.uri)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sbka_milvus import errors

if TYPE_CHECKING:
    from sbka_milvus.api import SketchSearch
    from sbka_milvus.async_api import AsyncSketchSearch
    from sbka_milvus.embedding_function import SbkaEmbeddingFunction
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.encoders.bundle import ModelBundle, load_bundle
    from sbka_milvus.errors import SbkaError
    from sbka_milvus.feedback import FeedbackLog
    from sbka_milvus.types import Hit, SearchResult

__version__ = "0.2.0"

__all__ = [
    "AsyncSketchSearch",
    "FeedbackLog",
    "Gallery",
    "Hit",
    "ModelBundle",
    "SbkaEmbeddingFunction",
    "SbkaError",
    "SearchResult",
    "SketchSearch",
    "__version__",
    "errors",
    "load_bundle",
]

_HOMES = {
    "AsyncSketchSearch": "async_api",
    "FeedbackLog": "feedback",
    "Gallery": "embeddings",
    "Hit": "types",
    "ModelBundle": "encoders.bundle",
    "SbkaEmbeddingFunction": "embedding_function",
    "SbkaError": "errors",
    "SearchResult": "types",
    "SketchSearch": "api",
    "load_bundle": "encoders.bundle",
}


def __getattr__(name: str) -> Any:
    """Loads public names when they are first used, so that importing the package stays quick."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

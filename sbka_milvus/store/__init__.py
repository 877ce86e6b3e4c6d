"""Keeps galleries: Milvus (embedded or served), and an exact in-memory twin.

A version of a gallery is two collections, photos and clusters; the alias of the gallery names the photos
collection that is served. The names below are loaded when they are first used, so that importing this package
loads neither pymilvus nor faiss.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sbka_milvus.store.limits import MAX_LIMIT
from sbka_milvus.store.lite_memory import limit_memory
from sbka_milvus.store.names import require_gallery_name
from sbka_milvus.store.tls import Tls

if TYPE_CHECKING:
    from sbka_milvus.store.memory import MemoryGalleryStore
    from sbka_milvus.store.milvus import MilvusGalleryStore

__all__ = ["MAX_LIMIT", "MemoryGalleryStore", "MilvusGalleryStore", "Tls", "require_gallery_name"]

_HOMES = {"MemoryGalleryStore": "memory", "MilvusGalleryStore": "milvus"}

# Nothing of this package can load Milvus Lite before.
limit_memory()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

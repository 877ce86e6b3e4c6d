"""The refusals that every store words alike."""

from __future__ import annotations

from sbka_milvus.errors import CollectionMissing, StoreError
from sbka_milvus.types import VersionInfo


def unknown_version(info: VersionInfo) -> CollectionMissing:
    """There is no such version, or another one by now has its number."""
    return CollectionMissing(
        f"The store has no version {info.version} of gallery '{info.gallery}' with the encoder "
        f"{info.fingerprint}, {info.dim} dimensions and {info.n_clusters} clusters.",
        "Ask for the served version again: this one was dropped or rebuilt.",
    )


def not_served(gallery: str) -> CollectionMissing:
    """No version of the gallery is served."""
    return CollectionMissing(
        f"The store serves no gallery '{gallery}'.", "Check the name, or index the photos into it first."
    )


def no_longer_served(info: VersionInfo) -> CollectionMissing:
    """Another version of the gallery is."""
    return CollectionMissing(
        f"Version {info.version} of gallery '{info.gallery}' is not the one that is served.",
        "Ask for the served version again.",
    )


def served_version(info: VersionInfo) -> StoreError:
    """The version cannot be dropped because it is served."""
    return StoreError(
        f"Version {info.version} of gallery '{info.gallery}' is being served.", "Promote another version first."
    )


def closed_store() -> StoreError:
    """The store was closed by its owner."""
    return StoreError("The gallery store is closed.", "Open a new one.")

"""A version's matching as one ``.npz`` file: arrays alone, never unpickled."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from sbka_milvus.errors import InvalidValue
from sbka_milvus.rankers.alignment import ModalityAlignment
from sbka_milvus.rankers.lifted import LiftedMatching
from sbka_milvus.rankers.photo_parts import PhotoParts
from sbka_milvus.rankers.served_matching import ServedMatching

_FORMAT_VERSION = 1


def pack_matching(matching: ServedMatching) -> bytes:
    """A matching as the content of a file; equal ones make equal files."""
    lifted, photos = matching.lifted, matching.photos
    parts: dict[str, Any] = {
        "format_version": np.asarray(_FORMAT_VERSION),
        "photo_mean": lifted.alignment.photo_mean,
        "sketch_mean": lifted.alignment.sketch_mean,
        "table_sizes": np.array([len(table) for table in lifted.tables], dtype=np.int64),
        "tables": np.concatenate(lifted.tables),
        "sketches": lifted.sketches,
        "numbers": np.array([lifted.weight, lifted.level_weight, lifted.share]),
        "ids": photos.ids,
        "clusters": photos.clusters,
        "levels": photos.levels,
    }
    if lifted.alignment.projection is not None:
        parts["projection"] = lifted.alignment.projection
    buffer = io.BytesIO()
    np.savez(buffer, **parts)
    return buffer.getvalue()


def unpack_matching(content: bytes) -> ServedMatching:
    """The matching that :func:`pack_matching` packed.

    Raises:
        InvalidValue: The content is something else, is damaged, or is of another version.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as opened:
            parts = {name: np.asarray(opened[name]) for name in opened.files}
        version = int(parts["format_version"])
        if version == _FORMAT_VERSION:
            return _assemble(parts)
    except InvalidValue:
        raise
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, BadZipFile, ZlibError) as error:
        raise InvalidValue(f"It holds no matching: {error}.") from error
    # One array in place of many; an entry packed or locked elsewhere; a head that claims more than there can be.
    except (AttributeError, RuntimeError, MemoryError) as error:
        raise InvalidValue(f"It holds no matching: {error}.") from error
    raise InvalidValue(f"It has format {version}; this version reads {_FORMAT_VERSION}.", "Upgrade sbka-milvus.")


def _assemble(parts: Mapping[str, Any]) -> ServedMatching:
    weight, level_weight, share = (float(value) for value in parts["numbers"])
    ends = np.cumsum(parts["table_sizes"])
    if len(ends) == 0 or ends[-1] != len(parts["tables"]) or parts["tables"].ndim != 2:
        raise InvalidValue("The clusterings do not fit their sizes.")
    alignment = ModalityAlignment(parts["photo_mean"], parts["sketch_mean"], parts.get("projection"))
    lifted = LiftedMatching(
        alignment, tuple(np.split(parts["tables"], ends[:-1])), weight, parts["sketches"], level_weight, share
    )
    return ServedMatching(lifted, PhotoParts(parts["ids"], parts["clusters"], parts["levels"]))

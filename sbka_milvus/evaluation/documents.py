"""Reads frozen values back from the plain lists and objects of a JSON document.

By hand, because file names in a report may hold bytes that are no characters, which validating libraries refuse.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sbka_milvus.errors import InvalidValue

T = TypeVar("T")


def read_document(kind: type[T], document: Any, name: str) -> T:
    """A frozen dataclass from the object that ``dataclasses.asdict`` and JSON made of it.

    Args:
        kind: a dataclass of texts, numbers, tuples, mappings by text, literals, other such dataclasses, or None.
        document: what JSON gave.
        name: what it is, for errors.

    Raises:
        InvalidValue: A field is missing, is one too many or is of another kind, or the dataclass refuses it.
    """
    if not isinstance(document, dict):
        raise InvalidValue(f"The {name} is no JSON object.", "Evaluate again.")
    hints = get_type_hints(kind)
    wanted = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    missing, extra = sorted(set(wanted) - set(document)), sorted(set(document) - set(wanted))
    if missing or extra:
        raise InvalidValue(f"The {name} lacks {missing} and has {extra} too many.", "Evaluate again.")
    return kind(**{field: _read(hints[field], document[field], f"{field} of the {name}") for field in wanted})


def _read(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (wanted,) = (part for part in get_args(hint) if part is not type(None))
        found = None if value is None else _read(wanted, value, name)
    elif is_dataclass(hint):
        found = read_document(hint, value, name)  # type: ignore[arg-type]
    elif origin is tuple:
        found = _read_tuple(get_args(hint), value, name)
    elif origin is Mapping:
        found = _read_mapping(get_args(hint)[1], value, name)
    elif origin is Literal:
        found = value  # the dataclass says which there are
    else:
        found = _read_plain(hint, value, name)
    return found


def _read_plain(kind: Any, value: Any, name: str) -> Any:
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise InvalidValue(f"The {name} is {value!r}.", f"It must be {kind.__name__}. Evaluate again.")
    return value


def _read_mapping(kind: Any, value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValue(f"The {name} are no object.", "Evaluate again.")
    return {key: _read(kind, entry, f"{key!r} of {name}") for key, entry in value.items()}


def _read_tuple(parts: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InvalidValue(f"The {name} are no list.", "Evaluate again.")
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(parts) != len(value):
        raise InvalidValue(f"The {name} are {len(value)} where {len(parts)} are needed.", "Evaluate again.")
    return tuple(_read(part, entry, f"entry of {name}") for part, entry in zip(parts, value, strict=True))

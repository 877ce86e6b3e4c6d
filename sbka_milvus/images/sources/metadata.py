"""What is known of a photo beside its pixels: names and plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sbka_milvus.types import Metadata, Scalar

MAX_TEXT_BYTES = 16_384
"""The longest text that is kept, in bytes of UTF-8."""

MAX_COLUMNS = 50
"""The most columns of one source: a collection of Milvus has 64 fields at most."""

_INT64 = 2**63


class UnfitValue(ValueError):
    """A value that cannot be kept; says why, as the end of a sentence."""


def plain_value(value: Any) -> Scalar | None:
    """A value as it is kept: text, whole number, number or truth; none where there is none.

    Times become texts in the form of ISO 8601, which sort as they should.

    Raises:
        UnfitValue: It is of another kind, too long or too large.

    >>> plain_value(date(2020, 1, 2)), plain_value(float("nan")), plain_value(Decimal("1.5"))
    ('2020-01-02', None, 1.5)
    """
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() and value.is_finite() else float(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        return _text(value)
    raise UnfitValue(f"is a {type(value).__name__}, and only texts, numbers and truths are kept")


def plain_metadata(values: Mapping[str, Any]) -> Metadata:
    """Named values as they are kept, those without a value left out.

    Raises:
        UnfitValue: A name or a value cannot be kept; names it.
    """
    kept: dict[str, Scalar] = {}
    for name, value in values.items():
        require_name(name)
        try:
            plain = plain_value(value)
        except UnfitValue as error:
            raise UnfitValue(f"the value of {name!r} {error}") from error
        if plain is not None:
            kept[name] = plain
    return kept


def require_name(name: str) -> None:
    """Refuses a column's name that no filter could say.

    Raises:
        UnfitValue: It is empty, too long, or holds a backquote or a control character.
    """
    if not name.strip() or len(name) > 200 or any(char == "`" or not char.isprintable() for char in name):
        raise UnfitValue(f"the name {name[:50]!r} is empty, longer than 200 characters or has unprintable ones")


def metadata_of_sidecars(parts: Mapping[str, bytes]) -> Metadata:
    """What stands beside a picture in a WebDataset shard: the entries of ``.json``, and ``.txt`` and ``.cls``.

    Args:
        parts: content by suffix, such as ``{"json": b'{"year": 2020}', "txt": b"a cat", "cls": b"3"}``.

    Returns:
        The plain entries of the JSON object (nested ones are left out), ``text``, and ``cls`` as a whole number.

    Raises:
        UnfitValue: A part is not what its suffix says, or holds a value that cannot be kept.

    >>> metadata_of_sidecars({"json": b'{"year": 2020, "tags": ["a"]}', "txt": b"a cat ", "cls": b"3"})
    {'year': 2020, 'text': 'a cat', 'cls': 3}
    """
    found: dict[str, Any] = {}
    try:
        if "json" in parts:
            entries = json.loads(parts["json"])
            if not isinstance(entries, dict):
                raise UnfitValue("its .json holds no object")
            found |= {name: value for name, value in entries.items() if not isinstance(value, (list, dict))}
        if "txt" in parts:
            found["text"] = parts["txt"].decode("utf-8").strip()
        if "cls" in parts:
            found["cls"] = int(parts["cls"])
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnfitValue):
            raise
        raise UnfitValue(f"what stands beside it cannot be read ({error})") from error
    return plain_metadata(found)


def _whole(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise UnfitValue(f"is {value}, which needs more than 64 bits")
    return value


def _number(value: float) -> float | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise UnfitValue("is infinite")
    return value


def _text(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise UnfitValue("is a text with characters that are none (lone surrogates)") from error
    if size > MAX_TEXT_BYTES:
        raise UnfitValue(f"is a text of {size:,} bytes, and at most {MAX_TEXT_BYTES:,} are kept")
    return value

"""Asks a filter of rows in memory: what Milvus must answer too."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from sbka_milvus.store.filters.conditions import Both, Comparison, Condition, Either, IsNull, Like, OneOf
from sbka_milvus.types import Metadata, Scalar

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(condition: Condition, row: Metadata) -> bool:
    """Whether a photo meets a filter.

    >>> from sbka_milvus.store.filters.grammar import parse_filter
    >>> asked = parse_filter("year > 2020 or place like 'Ro%'", {"year": "int", "place": "text"})
    >>> matches(asked, {"year": 2021}), matches(asked, {"place": "Rome"}), matches(asked, {})
    (True, True, False)
    """
    if isinstance(condition, Both):
        return all(matches(part, row) for part in condition.parts)
    if isinstance(condition, Either):
        return any(matches(part, row) for part in condition.parts)
    value = row.get(condition.column)
    if isinstance(condition, IsNull):
        return (value is None) != condition.negated
    return value is not None and _meets(condition, value)


def _meets(condition: Comparison | OneOf | Like, value: Scalar) -> bool:
    if isinstance(condition, Comparison):
        return _OPERATORS[condition.operator](value, condition.value)
    if isinstance(condition, OneOf):
        return (value in condition.values) != condition.negated
    return (_pattern(condition).fullmatch(str(value)) is not None) != condition.negated


def _pattern(condition: Like) -> re.Pattern[str]:
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(part) or re.escape(part[1:]) for part in condition.parts)
    return re.compile(text, re.DOTALL)

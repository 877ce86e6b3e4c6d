"""Says a filter in the language of Milvus."""

from __future__ import annotations

from collections.abc import Callable

from sbka_milvus.store.filters.conditions import Both, Comparison, Condition, Either, IsNull, Like, OneOf
from sbka_milvus.types import Scalar

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_milvus(condition: Condition, field_of: Callable[[str], str]) -> str:
    """A filter for Milvus.

    Milvus 3.2's embedded engine was measured to let photos without a value pass ``not in``, and none of the other
    conditions; so that is said to it beside. An explicit ``is not null`` changes nothing where it is not needed.

    Args:
        condition: what is asked.
        field_of: the field of Milvus that keeps a column.

    >>> from sbka_milvus.store.filters.grammar import parse_filter
    >>> to_milvus(parse_filter("not (a in [1] or b == 'x')", {"a": "int", "b": "text"}), str)
    '((a is not null and a not in [1]) and b != "x")'
    """
    if isinstance(condition, (Both, Either)):
        word = " and " if isinstance(condition, Both) else " or "
        return f"({word.join(to_milvus(part, field_of) for part in condition.parts)})"
    field = field_of(condition.column)
    if isinstance(condition, Comparison):
        return f"{field} {condition.operator} {_literal(condition.value)}"
    if isinstance(condition, IsNull):
        return f"{field} is {'not ' if condition.negated else ''}null"
    if isinstance(condition, OneOf):
        listed = ", ".join(_literal(value) for value in condition.values)
        return f"({field} is not null and {field} not in [{listed}])" if condition.negated else f"{field} in [{listed}]"
    return _like(field, condition)


def _like(field: str, condition: Like) -> str:
    pattern = "".join(part if part in ("%", "_") else _escaped(part[1:]) for part in condition.parts)
    said = f"{field} like {_literal(pattern)}"
    return f"({field} is not null and not ({said}))" if condition.negated else said


def _escaped(text: str) -> str:
    """A text as it stands in a pattern for itself."""
    return "".join(f"\\{char}" if char in "\\%_" else char for char in text)


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
    return repr(value)

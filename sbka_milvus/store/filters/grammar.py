r"""Reads a filter into a tree, and checks it against the columns there are.

=============== =====================================================================================
either          both {``or`` both}
both            one {``and`` one}
one             ``not`` one | ``(`` either ``)`` | condition
condition       column [sign value | [``not``] ``in`` list | [``not``] ``like`` text | ``is`` [``not``] ``null``]
                | value sign column
sign            ``==`` ``=`` ``!=`` ``<>`` ``<`` ``<=`` ``>`` ``>=``
=============== =====================================================================================

A column alone is one of truths. Names with other characters stand in backquotes. ``&&``, ``||`` and ``!`` are the
words in other letters. In a pattern ``%`` stands for any characters and ``_`` for one, ``\%`` and ``\_`` for
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from sbka_milvus.errors import FilterError
from sbka_milvus.store.filters.conditions import (
    FLIPPED,
    Both,
    Comparison,
    Condition,
    Either,
    IsNull,
    Like,
    OneOf,
)
from sbka_milvus.store.filters.tokens import Token, bad_filter, tokens_of
from sbka_milvus.types import FieldKind, Scalar

_MAX_DEPTH = 50
_MAX_LISTED = 1000
_INT64 = 2**63
_KINDS: dict[FieldKind, str] = {"text": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def parse_filter(text: str, columns: Mapping[str, FieldKind]) -> Condition:
    """Reads a filter.

    Args:
        text: the filter.
        columns: those there are, and the kinds of their values.

    Raises:
        FilterError: It cannot be read, names a column that there is not, or compares what cannot be compared.

    >>> parse_filter("not year > 2020", {"year": "int"})
    Comparison(column='year', operator='<=', value=2020)
    """
    return _Reader(text, columns).all()


class _Reader:
    def __init__(self, text: str, columns: Mapping[str, FieldKind]) -> None:
        self._text = text
        self._columns = columns
        self._tokens = tokens_of(text)
        self._at = 0

    def all(self) -> Condition:
        if len(self._tokens) == 1:
            raise FilterError("The filter is empty.", "Leave it out, or write a condition such as: year > 2020.")
        found = self._either(0)
        if self._now.kind != "end":
            raise self._bad("an 'and' or 'or' is missing")
        return found

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        if self._now.kind in ("word", "sign") and self._now.text == text:
            self._at += 1
            return True
        return False

    def _bad(self, problem: str, token: Token | None = None) -> FilterError:
        token = token or self._now
        what = f"{problem} before {token.text!r}" if token.text else f"{problem} at the end"
        return bad_filter(self._text, token.place, what)

    def _either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._take("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _one(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise bad_filter(self._text, self._now.place, f"more than {_MAX_DEPTH} brackets stand in one another")
        if self._take("not"):
            return self._one(depth + 1).turned()
        if self._take("("):
            found = self._either(depth + 1)
            if not self._take(")"):
                raise self._bad("a ) is missing")
            return found
        return self._condition()

    def _condition(self) -> Condition:
        if self._now.kind == "value":
            value = self._value()
            if self._now.text not in FLIPPED:
                raise self._bad("a comparison is missing")
            sign = FLIPPED[self._now.text]
            self._at += 1
            column, token = self._column()
            return self._comparison(column, sign, value, token)
        column, token = self._column()
        if self._now.kind == "sign" and self._now.text in FLIPPED:
            sign = self._now.text
            self._at += 1
            return self._comparison(column, sign, self._value(), token)
        if self._take("is"):
            negated = self._take("not")
            if not self._take("null"):
                raise self._bad("'null' is missing")
            return IsNull(column, negated)
        negated = self._take("not")
        if self._take("in"):
            return OneOf(column, self._list(column, token), negated)
        if self._take("like"):
            return Like(column, self._pattern(column, token), negated)
        if negated or self._columns[column] != "bool":
            raise self._bad(f"a condition on {column!r} is missing")
        return Comparison(column, "==", True)

    def _column(self) -> tuple[str, Token]:
        token = self._now
        if token.kind != "column":
            raise self._bad("the name of a column is missing")
        if token.text not in self._columns:
            near = get_close_matches(token.text, self._columns, 1)
            raise FilterError(
                f"There is no column {token.text!r} to filter by"
                + (f"; did you mean {near[0]!r}? " if near else ". ")
                + f"There are: {', '.join(f'{name} ({kind})' for name, kind in self._columns.items())}.",
                "Texts stand in quotes, names with other characters in backquotes.",
            )
        self._at += 1
        return token.text, token

    def _value(self) -> Scalar:
        token = self._now
        if token.kind != "value":
            raise self._bad("a number, a text in quotes, true or false is missing")
        self._at += 1
        if isinstance(token.value, int) and not -_INT64 <= token.value < _INT64:
            raise self._bad(f"{token.text} needs more than 64 bits, so it cannot stand", token)
        return token.value

    def _comparison(self, column: str, sign: str, value: Scalar, token: Token) -> Condition:
        self._require_kind(column, value, token)
        if isinstance(value, bool) and sign not in ("==", "!="):
            raise self._bad(f"{column!r} is true or false and has no order, so {sign} cannot stand", token)
        return Comparison(column, sign, _plain(value))

    def _list(self, column: str, token: Token) -> tuple[Scalar, ...]:
        if not self._take("["):
            raise self._bad("a list such as [1, 2] is missing")
        values: list[Scalar] = []
        while not self._take("]"):
            if values and not self._take(","):
                raise self._bad("a comma or ] is missing")
            value = self._value()
            self._require_kind(column, value, token)
            values.append(_plain(value))
            if len(values) > _MAX_LISTED:
                raise self._bad(f"a list has more than {_MAX_LISTED} values")
        if not values:
            raise self._bad("a list is empty")
        return tuple(values)

    def _pattern(self, column: str, token: Token) -> tuple[str, ...]:
        value = self._value()
        self._require_kind(column, value, token)
        if not isinstance(value, str):
            raise self._bad(f"{column!r} is no text, so 'like' cannot stand", token)
        return pattern_parts(value)

    def _require_kind(self, column: str, value: Scalar, token: Token) -> None:
        kind = self._columns[column]
        found: FieldKind = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "float"
        if found != ("float" if kind in ("int", "float") else kind):
            raise FilterError(
                f"The column {column!r} is {_KINDS[kind]}, and cannot be compared with {value!r} "
                f"(character {token.place + 1} of the filter).",
                "Texts stand in quotes; numbers, true and false do not.",
            )


def pattern_parts(pattern: str) -> tuple[str, ...]:
    r"""A pattern in parts: see :class:`~sbka_milvus.store.filters.conditions.Like`.

    >>> pattern_parts(r"100\%_a%%")
    ('=100%', '_', '=a', '%')
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        escaped = char == "\\" and pattern[position + 1 : position + 2] in ("%", "_")
        if char in "%_":
            if not (char == "%" and parts and parts[-1] == "%"):
                parts.append(char)
        else:
            literal = pattern[position + 1] if escaped else char
            if parts and parts[-1].startswith("="):
                parts[-1] += literal
            else:
                parts.append(f"={literal}")
        position += 2 if escaped else 1
    return tuple(parts)


def _plain(value: Scalar) -> Scalar:
    """A whole number where it is one: 2020.0 and 2020 are the same to whoever asks."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value

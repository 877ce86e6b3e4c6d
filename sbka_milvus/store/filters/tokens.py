"""The words of a filter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sbka_milvus.errors import FilterError
from sbka_milvus.types import Scalar

Kind = Literal["column", "value", "sign", "word", "end"]

MAX_LENGTH = 20_000

WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null"})
_TRUTHS = {"true": True, "false": False}
_SIGNS = {"&&": "and", "||": "or", "!": "not", "=": "==", "<>": "!="}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]+`)
      | (?P<name>[^\W\d]\w*)
      | (?P<sign>&&|\|\||==|!=|<>|<=|>=|[()\[\],<>=!])
    )""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a filter.

    Attributes:
        kind: of word.
        text: as it stands there, words and signs in their one spelling.
        value: of a number, a text or a truth.
        place: where it begins, counted from 0.
    """

    kind: Kind
    text: str
    place: int
    value: Scalar = False


def tokens_of(text: str) -> list[Token]:
    """The words of a filter, and an end.

    Raises:
        FilterError: It is too long, or holds something that is no word; names the place.

    >>> [token.text for token in tokens_of("year>=2020 && `taken at` like 'a%'")]
    ['year', '>=', '2020', 'and', 'taken at', 'like', "'a%'", '']
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"The filter has {len(text):,} characters; at most {MAX_LENGTH:,} are read.", "Shorten it.")
    found: list[Token] = []
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            raise bad_filter(text, len(text) - len(rest), f"{rest[:20]!r} is not understood")
        found.append(_token(match))
        place = match.end()
    return [*found, Token("end", "", len(text))]


def bad_filter(text: str, place: int, problem: str) -> FilterError:
    """The error for a filter that cannot be read."""
    return FilterError(
        f"The filter cannot be read at character {place + 1}: {problem}. It is: {text[:200]}",
        "Write conditions such as: year > 2020 and (place in ['Rome', 'Oslo'] or name like 'a%').",
    )


def _token(match: re.Match[str]) -> Token:
    kind = match.lastgroup or ""
    text, place = match[kind], match.start(kind)
    if kind == "number":
        return Token("value", text, place, _number(text))
    if kind == "text":
        return Token("value", text, place, re.sub(r"\\(.)", _unescaped, text[1:-1], flags=re.DOTALL))
    if kind == "quoted":
        return Token("column", text[1:-1], place)
    if kind == "sign":
        sign = _SIGNS.get(text, text)
        return Token("word" if sign in WORDS else "sign", sign, place)
    if text.lower() in _TRUTHS:
        return Token("value", text, place, _TRUTHS[text.lower()])
    return Token("word", text.lower(), place) if text.lower() in WORDS else Token("column", text, place)


def _unescaped(match: re.Match[str]) -> str:
    # The wildcards of a pattern keep their escape for the one who reads the pattern.
    char = match[1]
    return match[0] if char in "%_" else _ESCAPES.get(char, char)


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)

"""What a filter says, as a tree. There is no "not" in it: the reader has turned each condition around instead.

A photo without a value in a column meets no condition on that column but ``is null``, nor the opposite of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sbka_milvus.types import Scalar

OPPOSITES = {"==": "!=", "!=": "==", ">": "<=", "<=": ">", "<": ">=", ">=": "<"}
FLIPPED = {"==": "==", "!=": "!=", ">": "<", "<": ">", ">=": "<=", "<=": ">="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """``column operator value``."""

    column: str
    operator: str
    value: Scalar

    def turned(self) -> Condition:
        """The opposite."""
        return replace(self, operator=OPPOSITES[self.operator])


@dataclass(frozen=True, slots=True)
class OneOf:
    """``column in [...]``, or not in it."""

    column: str
    values: tuple[Scalar, ...]
    negated: bool = False

    def turned(self) -> Condition:
        """The opposite."""
        return replace(self, negated=not self.negated)


@dataclass(frozen=True, slots=True)
class Like:
    r"""``column like pattern``, or not like it.

    Attributes:
        parts: the pattern: texts to be met as they are, ``%`` for any characters, ``_`` for any one. A text comes with
            its mark, so that a per cent sign in it is told from the wildcard: ``("=Ro", "%")``.
    """

    column: str
    parts: tuple[str, ...]
    negated: bool = False

    def turned(self) -> Condition:
        """The opposite."""
        return replace(self, negated=not self.negated)


@dataclass(frozen=True, slots=True)
class IsNull:
    """``column is null``, or is not."""

    column: str
    negated: bool = False

    def turned(self) -> Condition:
        """The opposite."""
        return replace(self, negated=not self.negated)


@dataclass(frozen=True, slots=True)
class Both:
    """All of some conditions."""

    parts: tuple[Condition, ...]

    def turned(self) -> Condition:
        """The opposite: one of the opposites."""
        return Either(tuple(part.turned() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of some conditions."""

    parts: tuple[Condition, ...]

    def turned(self) -> Condition:
        """The opposite: all of the opposites."""
        return Both(tuple(part.turned() for part in self.parts))


Condition = Comparison | OneOf | Like | IsNull | Both | Either

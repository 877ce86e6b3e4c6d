"""Which re-ranker is meant: by its name, as an object, or as a function."""

from __future__ import annotations

from typing import Any

from sbka_milvus.errors import InvalidValue
from sbka_milvus.protocols import Reranker
from sbka_milvus.search.rerankers.function import FunctionReranker, RerankFunction
from sbka_milvus.search.rerankers.fused import FusedReranker
from sbka_milvus.search.rerankers.neighbours import NeighbourReranker
from sbka_milvus.search.rerankers.quantised import QuantisedReranker

RerankerChoice = str | Reranker | RerankFunction

_BUILT_IN: tuple[Reranker, ...] = (FusedReranker(), NeighbourReranker(), QuantisedReranker())

NAMES = tuple(sorted(one.name for one in _BUILT_IN))
"""Of those that are built in, with their defaults."""


def as_reranker(choice: Any) -> Reranker:
    """The re-ranker that is meant.

    Args:
        choice: a name (:data:`NAMES`), a :class:`~sbka_milvus.protocols.Reranker`, or a function
            (:data:`RerankFunction`).

    Raises:
        InvalidValue: There is none of that name, or it is neither.

    >>> as_reranker("neighbours")
    NeighbourReranker(k=20, weight=0.8)
    """
    if isinstance(choice, str):
        for one in _BUILT_IN:
            if one.name == choice:
                return one
        raise InvalidValue(f"There is no re-ranker {choice!r}.", f"Choose one of: {', '.join(NAMES)}.")
    if isinstance(choice, type):
        raise InvalidValue(f"{choice.__qualname__} is a class and no re-ranker.", "Pass an object of it.")
    if isinstance(choice, Reranker):
        return choice
    if callable(choice):
        return FunctionReranker(choice)
    raise InvalidValue(
        f"{choice!r} is no re-ranker.",
        f"Pass one of {', '.join(NAMES)}, an object with name, depth and scores, or a function.",
    )

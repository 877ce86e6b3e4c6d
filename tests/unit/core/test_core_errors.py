"""The error tree is one tree, and its picture shows it."""

from __future__ import annotations

import re

import pytest

from sbka_milvus import errors
from sbka_milvus.errors import BrokerUnavailable, GalleryBusy, InvalidValue, SbkaError, StoreUnavailable


def tree() -> list[type[SbkaError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SbkaError)]


def test_the_picture_shows_every_error_below_its_base():
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^((?:[│ ] {3})*(?:[├└]── )?)([A-Z]\w+)(?:  |$)", line):
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else "Exception"

    assert drawn == {kind.__name__: kind.__bases__[0].__name__ for kind in tree()}


def test_only_what_may_pass_by_itself_is_worth_retrying():
    assert {kind for kind in tree() if kind.retryable} == {StoreUnavailable, BrokerUnavailable, GalleryBusy}


@pytest.mark.parametrize(
    ("error", "text"),
    [(SbkaError("It broke.", "Mend it."), "It broke. Mend it."), (SbkaError("It broke."), "It broke.")],
)
def test_the_text_is_problem_and_remedy(error: SbkaError, text: str):
    assert str(error) == text
    assert error.problem == "It broke."


def test_an_invalid_value_is_a_value_error_too():
    with pytest.raises(ValueError, match="wrong"):
        raise InvalidValue("wrong")

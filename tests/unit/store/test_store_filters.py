"""Filters: how they are read, and what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import FilterError
from sbka_milvus.store.filters import column_fields, matches, milvus_name, parse_filter, to_milvus
from sbka_milvus.store.filters.grammar import pattern_parts
from sbka_milvus.store.filters.tokens import tokens_of
from sbka_milvus.types import FieldKind, MetadataField

COLUMNS: dict[str, FieldKind] = {"year": "int", "score": "float", "place": "text", "ok": "bool", "taken at": "text"}


def said(text: str) -> str:
    """A filter as Milvus is told it."""
    return to_milvus(parse_filter(text, COLUMNS), lambda name: name.replace(" ", "_"))


@pytest.mark.parametrize(
    ("text", "milvus"),
    [
        ("year>2020", "year > 2020"),
        ("2020 < year", "year > 2020"),
        ("YEAR_", ""),
        ("year == 2020.0", "year == 2020"),
        ("score > -1.5e-3", "score > -0.0015"),
        ("ok", "ok == true"),
        ("not ok", "ok != true"),
        ("NOT ok AND year In [1,2] Or year iS NuLL", "((ok != true and year in [1, 2]) or year is null)"),
        ("year = 1 && (place <> 'a' || !ok)", '(year == 1 and (place != "a" or ok != true))'),
        ("not (year > 1 and place like 'a%')", '(year <= 1 or (place is not null and not (place like "a%")))'),
        ("not not year >= 1", "year >= 1"),
        ("not year is null", "year is not null"),
        ("`taken at` == 'x'", 'taken_at == "x"'),
        (r"place == 'it\'s'", 'place == "it\'s"'),
        (r'place == "a\"b\\c\n"', r'place == "a\"b\\c\n"'),
        (r"place like '100\%_%%'", r'place like "100\\%_%"'),
        ("ok == TRUE and ok != False", "(ok == true and ok != false)"),
    ],
)
def test_filters_in_the_words_of_milvus(text: str, milvus: str) -> None:
    if milvus:
        assert said(text) == milvus
    else:
        with pytest.raises(FilterError, match="no column"):
            said(text)


def test_an_injection_stays_a_text() -> None:
    assert said("place == 'x\" or id > 0 or place == \"'") == 'place == "x\\" or id > 0 or place == \\""'


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2018, 2023),
        "score": st.floats(-2, 2),
        "place": st.sampled_from(["Rome", "Oslo", "Ro%", ""]),
        "ok": st.booleans(),
    },
)
SIMPLE = st.sampled_from(
    ["year > 2020", "year in [2019, 2021]", "score <= 0.5", "place like 'Ro%'", "place == 'Oslo'", "ok", "year is null"]
)
FILTERS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) and ({two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) or ({two[1]})"),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(FILTERS, ROWS)
def test_a_filter_and_its_opposite_never_hold_both_and_one_does_where_nothing_is_missing(text: str, row: Any) -> None:
    holds, opposite = (matches(parse_filter(one, COLUMNS), row) for one in (text, f"not ({text})"))
    assert not (holds and opposite)
    if row.keys() >= {"year", "score", "place", "ok"}:
        assert holds != opposite


@settings(deadline=None)
@given(FILTERS, ROWS)
def test_a_filter_means_what_python_means(text: str, row: Any) -> None:
    """Where nothing is missing, Python itself can be asked."""
    full = {"year": 2020, "score": 0.0, "place": "Rome", "ok": False} | row
    plain = text.replace("place like 'Ro%'", "place.startswith('Ro')").replace("year is null", "(year is None)")
    assert matches(parse_filter(text, COLUMNS), full) == eval(plain, {}, full)


@settings(deadline=None)
@given(st.text(st.sampled_from("year ok place()[]<>=!&|'\"`\\%_,.0123-+eand or not in like null\n猫"), max_size=40))
def test_any_text_is_a_filter_or_a_typed_error(text: str) -> None:
    try:
        said(text)
    except FilterError as error:
        assert error.problem


@pytest.mark.parametrize("text", ["a b", "100%", "a_b", "\\", 'quo"te', "new\nline", "%_%", "猫", ""])
def test_a_text_matches_its_own_escaped_pattern_alone(text: str) -> None:
    escaped = "".join(f"\\{char}" if char in "%_" else char for char in text).replace("\\\\", "\\")
    parts = pattern_parts(escaped)
    assert parts == ((f"={text}",) if text else ())


def test_names_in_milvus_are_distinct_and_valid() -> None:
    names = [
        "id",
        "URI",
        "vector",
        "in",
        "json_contains",
        "year",
        "Year",
        "taken at",
        "1st",
        "column_3",
        "猫",
        "a" * 150,
        "_x",
    ]
    fields = tuple(MetadataField(name, "int") for name in names)
    found = [milvus_name(fields, name) for name in names]
    assert len(set(found)) == len(found)
    assert all(name.isascii() and name.isidentifier() and len(name) <= 100 for name in found)
    assert [name for name, field in zip(names, found, strict=True) if name == field] == ["year", "Year", "_x"]


def test_columns_are_those_of_the_version_and_the_uri() -> None:
    assert column_fields((MetadataField("year", "int"),)) == {"uri": "text", "year": "int"}
    # A manifest may have a column of that name beside the one that names the photos; the photo's own counts.
    assert column_fields((MetadataField("uri", "int"),)) == {"uri": "text"}


def test_words_know_their_place() -> None:
    assert [(token.kind, token.place) for token in tokens_of("a >= -1.5")] == [
        ("column", 0), ("sign", 2), ("value", 5), ("end", 9),
    ]  # fmt: skip
    with pytest.raises(FilterError, match="character 5"):
        tokens_of("a > $")

"""Values that are kept of a photo."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from sbka_milvus.images.sources.metadata import UnfitValue, metadata_of_sidecars, plain_metadata, plain_value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("", ""),
        ("猫", "猫"),
        (True, True),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (float("nan"), None),
        (None, None),
        (datetime(2020, 1, 2, 3, 4), "2020-01-02T03:04:00"),
        (Decimal("2"), 2),
        (Decimal("2.5"), 2.5),
    ],
)
def test_plain_values(value: Any, kept: Any) -> None:
    found = plain_value(value)
    assert found == kept and type(found) is type(kept)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1], "list"),
        ({"a": 1}, "dict"),
        (b"x", "bytes"),
        (2**63, "64 bits"),
        (float("inf"), "infinite"),
        ("x" * 16_385, "16,385 bytes"),
        ("\ud800", "surrogates"),
    ],
)
def test_other_values_are_refused(value: Any, why: str) -> None:
    with pytest.raises(UnfitValue, match=f"the value of 'a' .*{why}"):
        plain_metadata({"a": value})


@pytest.mark.parametrize("name", ["", "  ", "a`b", "a\nb", "x" * 201])
def test_names_that_no_filter_could_say_are_refused(name: str) -> None:
    with pytest.raises(UnfitValue, match="name"):
        plain_metadata({name: 1})


def test_sidecars_of_webdataset() -> None:
    parts = {
        "json": b'{"year": 2020, "tags": ["a"], "box": {"x": 1}, "ok": null}',
        "txt": b"eine Katze\n",
        "cls": b" 3\n",
    }
    assert metadata_of_sidecars(parts) == {"year": 2020, "text": "eine Katze", "cls": 3}
    assert metadata_of_sidecars({}) == {}


@pytest.mark.parametrize(
    "parts",
    [
        {"json": b"{"},
        {"json": b"[1]"},
        {"txt": b"\xff"},
        {"cls": b"cat"},
        {"json": b"[" * 100_000},
        {"json": b'{"a": 1e999}'},
    ],
)
def test_sidecars_that_cannot_be_read_say_so(parts: dict[str, bytes]) -> None:
    with pytest.raises(UnfitValue):
        metadata_of_sidecars(parts)

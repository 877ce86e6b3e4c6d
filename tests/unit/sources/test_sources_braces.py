"""Braces in sources."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sbka_milvus.errors import SourceError
from sbka_milvus.images.sources.braces import expand_braces, has_braces


@pytest.mark.parametrize(
    "text",
    ["s-{000..012}.tar", "s-{8..11}.tar", "{3..1}{a,b}", "{08..10}", "{a,b,}c", "x{1..1}y", "{a,b}/{c,d}/{0..1}.zip"],
)
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to compare with")
def test_braces_are_expanded_as_a_shell_does(text: str) -> None:
    shown = subprocess.run(["bash", "-c", f"printf '%s\\n' {text}"], capture_output=True, text=True, check=True)
    assert expand_braces(text) == shown.stdout.splitlines()


@pytest.mark.parametrize("text", ["a.tar", "{a}", "a{}b", "{1..}", "{a..c}"])
def test_other_braces_stay(text: str) -> None:
    assert not has_braces(text)
    assert expand_braces(text) == [text]


@pytest.mark.parametrize("text", ["{0..100000}", "{0..999}{0..999}", "{0..99999999999999999999}"])
def test_too_many_are_refused_before_they_are_made(text: str) -> None:
    with pytest.raises(SourceError, match="at most 100,000"):
        expand_braces(text)

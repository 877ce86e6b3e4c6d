"""Commands are made when they are called, and the list of them says what each of them says of itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from sbka_milvus.cli import app
from sbka_milvus.cli.commands import COMMANDS


@pytest.fixture
def group() -> Any:
    return get_command(app)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(group, name):
    context = group.make_context("sbka", ["--help"], resilient_parsing=True)
    made = group.get_command(context, name)
    assert made.name == name
    assert group.commands[name].help == made.help
    assert isinstance(made, TyperGroup) or (made.callback is not None and made.epilog)
    found = CliRunner().invoke(app, [name, "--help"], prog_name="sbka")
    assert found.exit_code == 0
    assert f"sbka {name}" in found.output


def test_the_help_lists_all():
    shown = CliRunner().invoke(app, ["--help"]).output
    assert re.findall(r"^│ ([a-z]+) +[A-Z]", shown, re.MULTILINE) == list(COMMANDS)


def test_a_command_that_there_is_not_is_told_with_the_nearest():
    found = CliRunner().invoke(app, ["ingst"])
    assert found.exit_code == 2
    assert "No such command 'ingst'" in found.output and "ingest" in found.output

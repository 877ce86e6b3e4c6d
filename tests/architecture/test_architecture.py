"""The shape of the house: doors, public names, what an import loads, what the papers say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import grimp
import pytest

import sbka_milvus
from sbka_milvus import errors
from sbka_milvus.encoders.spec import key_values
from sbka_milvus.settings import Settings
from sbka_milvus.training.options import TrainingOptions
from workers.app import app, configure
from workers.broker import QUEUES as BROKER_QUEUES
from workers.queueing import TASKS
from workers.steps import QUEUES, STEPS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_the_doors_between_the_rooms_are_kept() -> None:
    found = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_modules_of_background_work_import_one_another_in_one_direction() -> None:
    """Also where they do so late, inside functions: the contract of the doors says nothing of what is below one."""
    graph = grimp.build_graph("workers", "schemas", cache_dir=None)
    order: dict[str, set[str]] = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    # Raises where there is a cycle, and names it.
    assert len(list(TopologicalSorter(order).static_order())) == len(order)


def test_types_are_strict() -> None:
    found = run(sys.executable, "-m", "mypy")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_style(arguments: list[str]) -> None:
    found = run(sys.executable, "-m", "ruff", *arguments, ".")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("heavy", ["torch", "pymilvus", "open_clip", "timm", "faiss", "pyarrow"])
def test_importing_the_package_loads_nothing_heavy(heavy: str) -> None:
    found = run(sys.executable, "-c", f"import sys, sbka_milvus; sys.exit({heavy!r} in sys.modules)")
    assert found.returncode == 0, found.stderr


HEAVY = ("torch", "pymilvus", "pyarrow", "faiss", "open_clip", "timm", "pandas", "sklearn")


@pytest.mark.parametrize("program", ["workers.app", "workers.tasks", "workers.serving", "workers.services.stack"])
def test_a_worker_has_loaded_nothing_with_threads_when_it_forks(program: str) -> None:
    # Their threads do not come along into the child, which then waits for them for ever.
    listed = f"[name for name in {HEAVY!r} if name in sys.modules]"
    found = run(sys.executable, "-c", f"import sys, {program}; print({listed})")
    assert (found.returncode, found.stdout.strip()) == (0, "[]"), found.stderr


def test_every_task_has_its_queue_its_limits_and_its_units() -> None:
    app.loader.import_default_modules()
    tasks = {name: task for name, task in app.tasks.items() if name.startswith("sbka.")}
    assert set(tasks) == set(app.conf.task_routes)
    assert set(TASKS.values()) == set(tasks) - {"sbka.reconcile", "sbka.retraining"}
    for step, name in TASKS.items():
        assert app.conf.task_routes[name]["queue"] == QUEUES[step]
    assert {route["queue"] for route in app.conf.task_routes.values()} == set(BROKER_QUEUES)
    for name, task in tasks.items():
        assert 0 < task.soft_time_limit < task.time_limit, name
        assert task.acks_late and task.reject_on_worker_lost and task.ignore_result, name
    configure(Settings(), "redis://localhost:1/0")
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} == {"sbka.reconcile", "sbka.retraining"}
    assert {step for steps in STEPS.values() for step in steps} == set(QUEUES) == set(TASKS)
    assert app.conf.accept_content == [app.conf.task_serializer] == ["json"]


def test_a_step_of_a_job_has_something_that_does_it() -> None:
    from workers.units import handler_of

    found = [handler_of(f"{step}-000001" if step == "embed" else step) for step in QUEUES]
    assert len({f"{handler.__module__}.{handler.__qualname__}" for handler in found}) == len(QUEUES)


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["--version"], ["no-such-command"]])
def test_the_help_loads_nothing_but_the_shell(arguments: list[str]) -> None:
    unwanted = (
        *HEAVY,
        "numpy",
        "PIL",
        "pydantic_settings",
        "scipy",
        "celery",
        "redis",
        "sbka_milvus.cli.console",
    )
    program = (
        f"import sys\nsys.argv[1:] = {arguments!r}\nfrom sbka_milvus.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {unwanted!r} if name in sys.modules])"
    )
    found = run(sys.executable, "-c", program)
    assert (found.returncode, found.stdout.splitlines()[-1]) == (0, "[]"), found.stderr


@pytest.mark.parametrize("module", ["api", "async_api", "embedding_function"])
def test_what_users_import_waits_with_torch_and_milvus_until_it_opens(module: str) -> None:
    unwanted = ("torch", "pymilvus", "milvus_lite", "open_clip", "timm", "matplotlib", "celery", "typer", "tensorboard")
    listed = f"[name for name in {unwanted!r} if name in sys.modules]"
    found = run(sys.executable, "-c", f"import sys, sbka_milvus.{module}; print({listed})")
    assert (found.returncode, found.stdout.strip()) == (0, "[]"), found.stderr


def test_public_names() -> None:
    assert sorted(sbka_milvus.__all__) == [
        "AsyncSketchSearch",
        "FeedbackLog",
        "Gallery",
        "Hit",
        "ModelBundle",
        "SbkaEmbeddingFunction",
        "SbkaError",
        "SearchResult",
        "SketchSearch",
        "__version__",
        "errors",
        "load_bundle",
    ]
    for name in sbka_milvus.__all__:
        assert getattr(sbka_milvus, name) is not None
    with pytest.raises(AttributeError):
        sbka_milvus.nothing_of_that_name  # noqa: B018


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = re.findall(r"^[│ ]*(?:[├└]── )?(\w+) ", errors.__doc__ or "", re.MULTILINE)
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.SbkaError)
    }
    assert defined - set(drawn) == {"SbkaError"} - set(drawn)
    retryable = {name for name in defined if getattr(errors, name).retryable}
    assert retryable == {"BrokerUnavailable", "GalleryBusy", "StoreUnavailable"}


def test_the_version_is_the_newest_of_the_changelog_and_of_the_project() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert newest is not None
    assert newest.group(1) == project["version"] == sbka_milvus.__version__


def _variables(model: Any, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            found |= _variables(field.annotation, f"{prefix}{name.upper()}__")
        else:
            default = field.get_default(call_default_factory=True)
            value = (
                default.get_secret_value()
                if hasattr(default, "get_secret_value")
                else str("" if default is None else default)
            )
            found[f"{prefix}{name.upper()}"] = value
    return found


def test_every_setting_stands_in_the_example_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?SBKA_\w+=", line))
    assert example == _variables(Settings, "SBKA_")


def test_every_dependency_is_pinned_and_no_address_is_recorded() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {re.split(r"==", line)[0].lower().replace("_", "-") for line in lines if line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[><=\[]", entry)[0].lower().replace("_", "-") for entry in wanted}
    assert names <= pinned
    assert all("==" in line for line in lines if line)
    assert not [line for line in lines if "://" in line or "@" in line]


@pytest.mark.parametrize("page", ["README.md", "docs/search.md"])
def test_the_python_of_the_pages_runs(page: str) -> None:
    """It is that of the public interface: each block compiles, and names only what exists."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, page, "exec")
        for name in re.findall(r"from sbka_milvus import ([\w, ]+)", block):
            assert set(re.split(r", *", name)) <= set(sbka_milvus.__all__)


def test_the_choices_that_the_page_of_retraining_names_can_be_made() -> None:
    named = re.findall(r"--training (\S+)", (ROOT / "docs" / "retraining.md").read_text())
    values = key_values(entry for entry in named if "=" in entry and not entry.startswith("NAME"))
    assert len(values) >= 5
    assert TrainingOptions.make(**values).model_dump(include=set(values)) == values


@cache
def help_of(command: str) -> subprocess.CompletedProcess[str]:
    """What a command says of itself; several pages name the same one."""
    return subprocess.run(
        [sys.executable, "-m", "sbka_milvus", *command.split(), "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "400", "TERM": "dumb"},
    )  # fmt: skip


_GROUPS = "model|jobs|gallery|retrain|feedback|sketches|quarantine"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/background.md",
        "docs/clusters.md",
        "docs/data.md",
        "docs/deployment.md",
        "docs/ingest.md",
        "docs/no_match.md",
        "docs/quarantine.md",
        "docs/retraining.md",
        "docs/training.md",
    ],
)
def test_the_pages_name_only_commands_and_options_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    found = sorted(set(re.findall(rf"^sbka ((?:{_GROUPS}) \w+|\w+)", text, re.MULTILINE)))
    for command in found:
        shown = help_of(command)
        assert shown.returncode == 0, f"sbka {command}: {shown.stderr}"
        for line in re.findall(rf"^sbka {command}\b([^#\n]*)", text, re.MULTILINE):
            for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", line):
                assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown.stdout), f"sbka {command} has no {option}"

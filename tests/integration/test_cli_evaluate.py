"""``sbka evaluate`` as a user meets it: a real model, real pictures, every option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sbka_milvus.cli.evaluate import IntervalsOver, ProtocolName
from sbka_milvus.evaluation import PROTOCOLS, EvaluationReport

Evaluate = Callable[..., Any]


@pytest.fixture
def evaluate(sbka: Callable[..., Any], demo: Path) -> Evaluate:
    """Evaluates the demo's model on its pictures, without a gallery."""
    world = demo / "world"

    def run(*options: str | Path) -> Any:
        return sbka(
            "evaluate", "--photos", world / "photos", "--model", demo / "models" / "sbka",
            "--sketches", world / "sketches", "--split", world / "split.json", *options,
        )  # fmt: skip

    return run


def test_the_table_shows_every_method_with_its_intervals_beside_chance(evaluate: Evaluate) -> None:
    ran = evaluate("--k", "5", "--map-k", "3")
    assert ran.code == 0, ran.err
    assert [line.split()[1] for line in ran.out.splitlines() if line.startswith("│")] == [
        "mAP@all",
        "mAP@3",
        "mAP@3",
        "P@5",
    ]
    assert "mAP@3 lenient" in ran.out
    header = next(line for line in ran.out.splitlines() if "one-to-many" in line)
    assert header.index("chance") < header.index("one-to-one") < header.index("one-to-many")
    assert "protocol plain" in ran.out
    assert "95% intervals, bootstrap over queries" in ran.out
    assert "Not comparable with published figures" in ran.out


def test_one_run_with_everything(evaluate: Evaluate, tmp_path: Path) -> None:
    ran = evaluate(
        "--protocol", "sake", "--generalised", "--seen-share", "0.1", "--deduplicate", "--k", "5", "--k", "8",
        "--map-k", "3", "--intervals-over", "categories", "--seed", "4", "--report", tmp_path / "report.html",
        "--plots", tmp_path / "plots", "-o", tmp_path / "report.json", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = ran.json()
    assert json.loads((tmp_path / "report.json").read_text()) == document
    report = EvaluationReport.from_json((tmp_path / "report.json").read_text())
    assert (report.protocol, report.n_queries, report.n_categories) == ("sake", 40, 8)
    assert list(report.rows[0].values) == ["mAP@all", "mAP@3", "mAP@3 lenient", "P@5", "P@8"]
    assert (report.seen.share, report.seen.seed) == (0.1, 4)
    assert report.n_gallery == 8 * 6 + report.seen.n_photos == 8 * 6 + 28
    assert report.deduplicated.n_gallery == report.n_gallery
    assert (report.resampling.over, report.resampling.seed) == ("categories", 4)
    assert set(report.rows[1].intervals) == set(report.rows[1].values)
    page = (tmp_path / "report.html").read_text()
    assert report.fingerprint in page
    assert "Generalised: 28 photos" in page
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["categories.png", "precision-recall.png"]


def test_intervals_can_be_left_out(evaluate: Evaluate) -> None:
    document = evaluate("--no-intervals", "--json").json()
    assert document["resampling"] is None
    assert document["differences"] == []
    assert all(row["intervals"] == {} for row in document["rows"])


def test_a_share_of_seen_photos_cannot_join_a_gallery_that_is_there(sbka: Callable[..., Any], demo: Path) -> None:
    world = demo / "world"
    ran = sbka(
        "evaluate",
        "-g",
        demo / "gallery",
        "--sketches",
        world / "sketches",
        "--split",
        world / "split.json",
        "--generalised",
    )
    assert ran.code == 1
    assert "No share of the seen photos can be added" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_page_of_another_kind_is_refused_before_the_work(evaluate: Evaluate, tmp_path: Path) -> None:
    ran = evaluate("--report", tmp_path / "report.pdf")
    assert ran.code == 1
    assert "report.pdf" in ran.err
    assert "Loading" not in ran.err


@pytest.mark.parametrize("options", [("--protocol", "voc"), ("--k", "0"), ("--map-k", "-1"), ("--seen-share", "2")])
def test_values_out_of_range_are_wrong_usage(evaluate: Evaluate, options: tuple[str, str]) -> None:
    assert evaluate(*options).code == 2


def test_a_cut_off_given_twice_is_refused(evaluate: Evaluate) -> None:
    ran = evaluate("--k", "5", "--k", "5")
    assert ran.code == 1
    assert "cut-offs of P@K are [5, 5]" in ran.err


def test_help_shows_every_option_and_examples(sbka: Callable[..., Any]) -> None:
    shown = sbka("evaluate", "--help").out
    for option in (
        "--protocol", "--generalised", "--deduplicate", "--report", "--plots", "--intervals", "--no-intervals",
        "--map-k", "--k",
    ):  # fmt: skip
        assert option in shown
    assert "--protocol sake --map-k 200" in shown


def test_the_shell_knows_the_protocols_of_the_library() -> None:
    assert [name.value for name in ProtocolName] == list(PROTOCOLS)
    assert [over.value for over in IntervalsOver] == ["queries", "categories"]

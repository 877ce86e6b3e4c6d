"""The page of an evaluation holds all of it, and needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sbka_milvus.errors import OutputError
from sbka_milvus.evaluation import EvaluationPlan, EvaluationReport
from sbka_milvus.images import Split
from sbka_milvus.pipelines.evaluate import EvaluateOptions, evaluate_vectors
from sbka_milvus.pipelines.evaluation_page import PLOTS, write_evaluation_page, write_plots
from sbka_milvus.pipelines.labelled import LabelledVectors
from sbka_milvus.types import normalise

NAMES = ("ant_eater", "bee", "dog")
VOID = {"meta", "img", "br", "path", "circle", "use"}


class Balanced(HTMLParser):
    """Counts tags, and refuses one that is closed before those within it are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def report(draw, tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    photos, sketches = [], []
    for name in NAMES:
        for number in range(6):
            photos.append(draw(root / "photos" / name / f"{number}.png", number))
        for number in range(4):
            sketches.append(draw(root / "sketches" / name / f"{number}-1.png", number + 50))
    photos.append(root / "photos" / "bee" / "gone.png")

    def labelled(paths: list[Path]) -> LabelledVectors:
        vectors = normalise(rng.normal(size=(len(paths), 8)))
        return LabelledVectors(vectors, tuple(path.parent.name for path in paths), tuple(paths), ("A note & <more>.",))

    plan = EvaluationPlan("sake", ks=(1, 5), map_ks=(5,), deduplicate=True, seen_share=0.2)
    options = EvaluateOptions("drawn <world>", 64, plan=plan)
    split = Split("three", (), ("ant_eater", "bee"))
    return evaluate_vectors(labelled(photos), labelled(sketches[:8]), split, "f00df00d", options)


def read(report: EvaluationReport, folder: Path) -> str:
    write_evaluation_page(report, folder / "report.html")
    return (folder / "report.html").read_text()


def test_the_page_is_whole_and_in_order(report, tmp_path):
    parser = Balanced()
    parser.feed(read(report, tmp_path))
    assert parser.open == []
    wanted = [
        "Methods", "Each photo once", "The photo that was drawn", "Differences", "Published results",
        "Categories, one-to-many", "Best queries", "Worst queries", "Notes",
    ]  # fmt: skip
    assert [heading for heading in parser.headings if heading in wanted] == wanted


def test_the_page_says_what_its_figures_depend_on(report, tmp_path):
    page = read(report, tmp_path)
    for fact in (report.split_digest, "f00df00d", "sake", "drawn &lt;world&gt;", "Not comparable", "seed 0", "lenient"):
        assert fact in page
    assert "7 (20% of the seen)" not in page
    assert "6 (20% of the seen)" in page
    assert "A note &amp; &lt;more&gt;." in page
    assert "54.7 / 69.2" in page
    assert f"{report.score('one-to-many', 'mAP@all'):.3f}<br>" in page
    assert "one-to-many, each photo once" in page
    assert "ant eater" in page


def test_the_page_needs_no_other_file_no_network_and_no_scripts(report, tmp_path):
    page = read(report, tmp_path)
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert set(re.findall(r'src="(.{10})', page)) == {"data:image"}
    assert "Content-Security-Policy" in page
    assert "prefers-color-scheme: dark" in page


def test_the_examples_are_pictures_marked_right_and_wrong(report, tmp_path):
    page = read(report, tmp_path)
    shown = sum(len(example.hits) for example in report.examples)
    assert page.count('<li class="right">') + page.count('<li class="wrong">') == shown
    assert page.count('<li class="right">') == sum(hit.right for example in report.examples for hit in example.hits)
    assert page.count('<figure class="sketch">') == len(report.examples)


def test_pictures_that_are_gone_do_not_stop_the_page(report, tmp_path):
    examples = tuple(replace(example, sketch="/gone/x.png") for example in report.examples)
    page = read(replace(report, examples=examples), tmp_path)
    assert page.count('<figure class="sketch"><img') == len(examples)


def test_names_of_any_bytes_can_be_written(report, tmp_path):
    odd = replace(report, data_set="caf\udce9", notes=("Left out: \udcff.jpg",))
    assert "caf\\udce9" in read(odd, tmp_path)


def test_what_was_not_measured_has_no_section(report, tmp_path):
    bare = replace(
        report, deduplicated=None, drawn=None, differences=(), seen=None, examples=(), notes=(), resampling=None
    )
    parser = Balanced()
    parser.feed(read(bare, tmp_path))
    assert parser.headings == ["Methods", "Published results", "Categories, one-to-many"]


def test_plots_are_files_of_their_own(report, tmp_path):
    written = write_plots(report, tmp_path / "new" / "plots")
    assert [path.name for path in written] == list(PLOTS)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_place_that_cannot_be_written_is_named(report, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="precision-recall"):
        write_plots(report, tmp_path / "file")
    with pytest.raises(OutputError, match=r"report\.html"):
        write_evaluation_page(report, tmp_path / "file" / "report.html")

"""Re-ranking as users meet it: the command, and the same from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbka_milvus import SketchSearch
from sbka_milvus.errors import InvalidValue, RerankerError
from sbka_milvus.search.rerankers import NAMES
from sbka_milvus.types import Shortlist

Sbka = Callable[..., Any]


@pytest.fixture(scope="module")
def gallery(demo_gallery: Path) -> Path:
    return demo_gallery


@pytest.fixture(scope="module")
def sketch(teapot: Path) -> Path:
    return teapot


@pytest.mark.parametrize("name", NAMES)
def test_the_command_and_python_re_rank_alike(sbka: Sbka, gallery: Path, sketch: Path, name: str) -> None:
    ran = sbka("search", sketch, "-g", gallery, "-k", "6", "--exact", "--rerank", name, "--json")
    assert ran.code == 0, ran.err
    (told,) = ran.json()
    assert told["reranker"] == name
    with SketchSearch.open(gallery) as search:
        found = search(sketch, k=6, exact=True, reranker=name)
        plain = search(sketch, k=100, exact=True)
    assert [hit["uri"] for hit in told["hits"]] == [hit.uri for hit in found]
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert {hit.uri for hit in found} <= {hit.uri for hit in plain}
    assert found.confidence == (pytest.approx(plain.confidence, abs=1e-6) if plain.confidence else plain.confidence)
    if name == "fused":
        assert [hit.uri for hit in found] == [hit.uri for hit in plain][:6]


def test_a_table_says_what_is_proved(sbka: Sbka, gallery: Path, sketch: Path) -> None:
    ran = sbka("search", sketch, "-g", gallery, "-k", "3", "--exact", "--rerank", "neighbours", "--rerank-depth", "20")
    assert ran.code == 0, ran.err
    assert "Exact: what was re-ranked are the nearest photos of the gallery" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--rerank", "neighbors"), "fused, neighbours, quantised"),
        (("--rerank-depth", "20"), "no re-ranker"),
        (("--rerank", "fused", "--rerank-depth", "20", "--offset", "20"), "above 20"),
        (("--rerank", "fused", "--rerank-depth", "4"), "at least 5"),
    ],
)
def test_what_cannot_be_is_refused(
    sbka: Sbka, gallery: Path, sketch: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = sbka("search", sketch, "-g", gallery, "-k", "5", *arguments)
    assert ran.code == 1
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_name_that_is_none_is_refused_before_the_gallery_is_opened(sbka: Sbka, tmp_path: Path) -> None:
    ran = sbka("search", "x.png", "-g", tmp_path / "none", "--rerank", "best")
    assert "no re-ranker 'best'" in ran.err


def test_the_help_has_an_example(sbka: Sbka) -> None:
    assert "--rerank neighbours" in sbka("search", "--help").out


class TestPython:
    def test_a_function_of_ones_own(self, gallery: Path, sketch: Path) -> None:
        def worst_first(query: Any, photos: Shortlist, table: Any) -> Any:
            return -photos.scores

        with SketchSearch.open(gallery) as search:
            plain = search(sketch, k=30, exact=True)
            (found,) = search([sketch], k=30, exact=True, reranker=worst_first, rerank_depth=30)
        scores = np.float32([hit.score for hit in found])
        np.testing.assert_allclose(-scores, [hit.score for hit in plain][::-1], atol=1e-5)
        assert found.confidence == (pytest.approx(plain.confidence, abs=1e-6) if plain.confidence else plain.confidence)

    def test_pages_end_with_what_was_re_ranked(self, gallery: Path, sketch: Path) -> None:
        how: Any = {"reranker": "neighbours", "rerank_depth": 25}
        with SketchSearch.open(gallery) as search:
            whole = search(sketch, k=25, exact=True, **how)
            pages = list(search.pages(sketch, 10, **how))
            even = list(search.pages(sketch, 5, **how))
        assert [len(page) for page in pages] == [10, 10, 5]
        assert [len(page) for page in even] == [5] * 5
        assert [hit.uri for page in pages for hit in page] == [hit.uri for hit in whole]
        assert [hit.rank for page in pages for hit in page] == list(range(1, 26))

    def test_one_that_fails_is_named(self, gallery: Path, sketch: Path) -> None:
        def broken(query: Any, photos: Any, table: Any) -> Any:
            return [float("nan")] * len(photos)

        with SketchSearch.open(gallery) as search:
            with pytest.raises(RerankerError, match=r"broken' gave nan"):
                search(sketch, reranker=broken)
            with pytest.raises(InvalidValue, match="Choose one of"):
                search(sketch, reranker="none")
            assert len(search(sketch, k=3)) == 3

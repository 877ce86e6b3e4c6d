"""Exact searches, budgets and pages, by the command line and from Python, on the demo's gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sbka_milvus import SketchSearch
from sbka_milvus.errors import CollectionMissing, InvalidValue
from sbka_milvus.factory import recluster_gallery
from sbka_milvus.progress import SilentProgress
from sbka_milvus.settings import Settings, load_settings


@pytest.fixture(scope="module")
def gallery(demo_gallery: Path) -> Path:
    return demo_gallery


@pytest.fixture(scope="module")
def sketch(teapot: Path) -> Path:
    return teapot


def uris(hits: Any) -> list[str]:
    return [hit["uri"] if isinstance(hit, dict) else hit.uri for hit in hits]


def test_exact_hits_are_those_of_all_clusters_and_say_so(sbka, gallery, sketch):
    with SketchSearch.open(gallery) as search:
        everything = search(sketch, k=12, n_probe=1000)
        assert everything.exact
    (found,) = sbka("search", sketch, "-g", gallery, "-k", "12", "--exact", "--json").json()
    assert found["exact"] is True
    assert uris(found["hits"]) == uris(everything)
    assert 12 <= found["rows"] <= found["codes"]
    assert "Exact: no other photo of the gallery is nearer" in sbka("search", sketch, "-g", gallery, "--exact").out


def test_a_result_that_is_not_exact_tells_how_to_get_one(sbka, gallery, sketch):
    ran = sbka("search", sketch, "-g", gallery, "-k", "30", "--n-probe", "1")
    assert "1 cluster looked into; --exact proves that no other photo of the gallery is nearer." in " ".join(
        ran.out.split()
    )
    (found,) = sbka("search", sketch, "-g", gallery, "-k", "30", "--max-probe", "1", "--json").json()
    assert found["exact"] is False
    assert len(found["probes"]) == 1


def test_pages_by_offset_are_cut_from_one_order(sbka, gallery, sketch):
    command = ("search", sketch, "-g", gallery, "--json", "--exact")
    (whole,) = sbka(*command, "-k", "25").json()
    pages = [sbka(*command, "-k", "10", "--offset", str(offset)).json()[0]["hits"] for offset in (0, 10, 20)]
    assert uris(hit for page in pages for hit in page)[:25] == uris(whole["hits"])
    assert [hit["rank"] for hit in pages[1]] == list(range(11, 21))


def test_at_most_so_many_hits_of_a_cluster(sbka, gallery, sketch):
    (found,) = sbka("search", sketch, "-g", gallery, "-k", "3", "--per-cluster", "1", "--exact", "--json").json()
    clusters = [hit["cluster_id"] for hit in found["hits"]]
    assert len(set(clusters)) == len(clusters) == 3


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--n-probe", "2", "--exact"), "Leave n_probe out"),
        (("--n-probe", "2", "--max-probe", "3"), "Leave n_probe out"),
        (("--offset", "-1"), "offset"),
        (("--deadline-ms", "0"), "deadline-ms"),
        (("--per-cluster", "0"), "per-cluster"),
    ],
)
def test_what_makes_no_sense_is_refused(sbka, gallery, sketch, arguments, named):
    ran = sbka("search", sketch, "-g", gallery, *arguments)
    assert ran.code != 0
    assert named in ran.err


def test_settings_say_how_to_search_and_arguments_overrule_them(gallery, sketch, monkeypatch):
    monkeypatch.setenv("SBKA_SEARCH__N_PROBE", "1")
    with SketchSearch.open(gallery, settings=Settings()) as search:
        assert len(search(sketch, k=5).probes) == 1
        assert search(sketch, k=5, exact=True).exact
    monkeypatch.setenv("SBKA_SEARCH__N_PROBE", "")
    monkeypatch.setenv("SBKA_SEARCH__EXACT", "true")
    with SketchSearch.open(gallery, settings=Settings()) as search:
        assert search(sketch, k=30).exact
        assert len(search(sketch, k=30, n_probe=1).probes) == 1


class TestPages:
    def test_they_hold_every_photo_once(self, gallery, sketch):
        with SketchSearch.open(gallery) as search:
            whole = search(sketch, k=1000, exact=True)
            pages = list(search.pages(sketch, size=7))
            assert uris(hit for page in pages for hit in page) == uris(whole)
            assert [hit.rank for page in pages for hit in page] == list(range(1, len(whole) + 1))
            assert {len(page) for page in pages[:-1]} == {7}
            assert len({page.confidence for page in pages}) == 1
            begun = next(search.pages(sketch, size=7, offset=14))
            assert uris(begun) == uris(pages[2])

    def test_none_where_nothing_meets_a_filter_is_one_empty_page(self, gallery, sketch):
        with SketchSearch.open(gallery) as search:
            (page,) = search.pages(sketch, where="uri == 'none'")
            assert list(page) == []

    def test_they_stay_on_one_version_until_it_is_dropped(self, gallery, sketch):
        with SketchSearch.open(gallery) as search:
            before = search(sketch, k=1000, exact=True)
            pages = search.pages(sketch, size=5)
            seen = [next(pages)]
            recluster_gallery(gallery, load_settings(), SilentProgress(), n_clusters=3)
            assert search(sketch, k=5).version == before.version + 1
            seen += [next(pages), next(pages)]
            assert uris(hit for page in seen for hit in page) == uris(before)[:15]
            for n_clusters in (4, 5):
                recluster_gallery(gallery, load_settings(), SilentProgress(), n_clusters=n_clusters)
            with pytest.raises(CollectionMissing):
                list(pages)

    def test_a_fixed_number_of_probes_is_refused(self, gallery, sketch):
        with SketchSearch.open(gallery) as search, pytest.raises(InvalidValue, match="Leave n_probe out"):
            next(search.pages(sketch, n_probe=3))


def test_searches_are_timed(gallery, sketch):
    with SketchSearch.open(gallery) as search:
        for _ in range(3):
            search(sketch)
        found = search.latencies.summary()
        assert {stage: latency.count for stage, latency in found.items()} == {"encode": 3, "search": 3, "total": 3}
        assert 0 < found["search"].p50_ms <= found["total"].p95_ms

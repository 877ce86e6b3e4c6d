"""Filters: what every store answers, and that all of them answer the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from sbka_milvus.errors import FilterError, InvalidValue
from sbka_milvus.protocols import GalleryStore
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MemoryGalleryStore
from sbka_milvus.types import GalleryRows, MetadataField, VersionInfo

FIELDS = (
    MetadataField("id", "int"),
    MetadataField("ok", "bool"),
    MetadataField("place", "text"),
    MetadataField("score", "float"),
    MetadataField("taken at", "text"),
    MetadataField("year", "int"),
)
PLACES = ["Rome", "Oslo", "São Paulo", "100% \"odd\" \\ 'place'\n", "Ro_me%", "", "猫"]

PATTERNS = ["R%", "%e", "%o%", "_o%", "%", r"100\%%", r"Ro\_me\%"]


def said(number: int) -> dict[str, Any]:
    """Metadata of a photo: each column of some photos alone."""
    values: dict[str, Any] = {
        "id": number,
        "ok": number % 3 == 0,
        "place": PLACES[number % len(PLACES)],
        "score": number / 8 - 2,
        "taken at": f"2020-01-{number % 28 + 1:02d}T10:00:00",
        "year": 2000 + number % 25,
    }
    return {name: value for position, (name, value) in enumerate(values.items()) if (number + position) % 5}


def filled(store: GalleryStore, gallery: Any) -> VersionInfo:
    info = store.create_version("cats", "f", gallery.table, FIELDS)
    metadata = tuple(said(number) for number in range(len(gallery.embeddings)))
    store.insert(info, GalleryRows(gallery.embeddings, gallery.clustering.assignments, metadata))
    return info


def found(store: GalleryStore, info: VersionInfo, gallery: Any, where: str) -> list[int]:
    """The numbers of the photos that meet a filter, whatever they look like."""
    clusters = np.arange(info.n_clusters)
    (candidates,) = store.search(info, gallery.embeddings.vectors[:1], clusters, len(gallery.embeddings), where)
    return sorted(gallery.embeddings.uris.index(uri) for uri in candidates.uris)


def expected(gallery: Any, meets: Any) -> list[int]:
    return [number for number in range(len(gallery.embeddings)) if meets(said(number))]


CASES = {
    "year > 2020": lambda row: row.get("year", 0) > 2020,
    "not (year > 2020)": lambda row: row.get("year", 9999) <= 2020,
    "2005 <= year and year < 2010": lambda row: 2005 <= row.get("year", 0) < 2010,
    "year > 2010.5": lambda row: row.get("year", 0) > 2010.5,
    "year in [2001, 2003]": lambda row: row.get("year") in (2001, 2003),
    "year not in [2001, 2003]": lambda row: "year" in row and row["year"] not in (2001, 2003),
    "not year in [2001] and !(ok)": lambda row: row.get("year", 2001) != 2001 and row.get("ok") is False,
    "ok": lambda row: row.get("ok") is True,
    "ok != true": lambda row: row.get("ok") is False,
    "score < -1e0 or score >= 3": lambda row: row.get("score", 0) < -1 or row.get("score", 0) >= 3,
    "place == 'Rome'": lambda row: row.get("place") == "Rome",
    'place = "100% \\"odd\\" \\\\ \'place\'\\n"': lambda row: row.get("place", "").startswith("100%"),
    "place like 'Ro%'": lambda row: row.get("place", "").startswith("Ro"),
    "place not like 'Ro%'": lambda row: "place" in row and not row["place"].startswith("Ro"),
    "place like '%o%'": lambda row: "o" in row.get("place", ""),
    "place like 'R_me'": lambda row: row.get("place") == "Rome",
    r"place like 'Ro\_me\%'": lambda row: row.get("place") == "Ro_me%",
    "place like '_'": lambda row: row.get("place") == "猫",
    "place in ['Oslo', \"猫\", 'São Paulo']": lambda row: row.get("place") in ("Oslo", "猫", "São Paulo"),
    "place > 'S'": lambda row: row.get("place", "") > "S",
    "place == ''": lambda row: row.get("place") == "",
    "year is null": lambda row: "year" not in row,
    "year is not null && score is null": lambda row: "year" in row and "score" not in row,
    "`taken at` < '2020-01-10'": lambda row: row.get("taken at", "9") < "2020-01-10",
    "id == 7": lambda row: row.get("id") == 7,
    "id == 9223372036854775807": lambda row: False,
    "not (year > 2010 or not (ok == true or place == 'Oslo'))": lambda row: (
        row.get("year", 9999) <= 2010 and (row.get("ok") is True or row.get("place") == "Oslo")
    ),
}


@pytest.mark.parametrize("where", CASES, ids=str)
def test_a_filter_keeps_what_meets_it(store: GalleryStore, small: Any, where: str) -> None:
    wanted = expected(small, CASES[where])
    assert found(store, filled(store, small), small, where) == wanted
    assert where.startswith("id == 9") or 0 < len(wanted) < 60


def test_photos_can_be_filtered_by_their_uris_without_any_metadata(store: GalleryStore, small: Any) -> None:
    info = store.create_version("cats", "f", small.table)
    store.insert(info, small.rows)
    assert found(store, info, small, "uri like '%/0001_.jpg'") == list(range(10, 20))
    assert info.fields == ()


def test_a_version_says_its_columns_and_gives_the_metadata_back(store: GalleryStore, small: Any) -> None:
    info = filled(store, small)
    assert store.versions("cats") == [info]
    assert info.fields == FIELDS
    read = {
        uri: dict(one)
        for rows in store.scan(info, batch_size=7)
        for uri, one in zip(rows.embeddings.uris, rows.metadata, strict=True)
    }
    assert read == {uri: said(number) for number, uri in enumerate(small.embeddings.uris)}


def test_one_cluster_alone_is_filtered_also_where_clusters_share_partitions(store: GalleryStore, make_gallery) -> None:
    gallery = make_gallery(n=60, k=9)
    info = filled(store, gallery)
    for cluster in (0, 4):
        (candidates,) = store.search(info, gallery.embeddings.vectors[:1], np.array([cluster]), 60, "year > 2010")
        numbers = [gallery.embeddings.uris.index(uri) for uri in candidates.uris]
        in_cluster = [
            n for n in expected(gallery, CASES["year > 2010.5"]) if gallery.clustering.assignments[n] == cluster
        ]
        assert sorted(numbers) == in_cluster and in_cluster


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("yaer > 2020", r"no column 'yaer'.*did you mean 'year'.*ok \(bool\)"),
        ("cluster_id == 1", "no column 'cluster_id'"),
        ("vector == 1", "no column 'vector'"),
        ("year > 'x'", "'year' is a whole number.*'x'"),
        ("place > 5", "'place' is a text.*5"),
        ("ok > true", "no order"),
        ("ok == 1", "'ok' is true or false"),
        ("year like '2%'", "'year' is a whole number"),
        ("year >", "at the end"),
        ("year", "a condition on 'year' is missing"),
        ("year > 2020 place == 'a'", "'and' or 'or' is missing before 'place'"),
        ("(year > 2020", r"a \) is missing at the end"),
        ("year in []", "a list is empty"),
        ("year in [1 2]", "comma"),
        ("year > 2020; drop", "character 12"),
        ("place == 'open", "not understood"),
        ("", "empty"),
        ("   ", "empty"),
        ("year == 99999999999999999999", "64 bits"),
        ("(" * 60 + "ok" + ")" * 60, "brackets"),
        ("not " * 60 + "ok", "brackets"),
        ("ok or " * 4000 + "ok", "characters"),
    ],
)
def test_a_filter_that_cannot_be_asked_says_why(store: GalleryStore, small: Any, where: str, problem: str) -> None:
    info = filled(store, small)
    with pytest.raises(FilterError, match=problem):
        found(store, info, small, where)


def test_metadata_that_a_version_has_no_column_for_is_refused(store: GalleryStore, small: Any) -> None:
    info = store.create_version("cats", "f", small.table, FIELDS)
    for odd in ({"years": 1}, {"year": "1"}, {"year": True}, {"score": 1}):
        rows = GalleryRows(small.embeddings, small.clustering.assignments, (odd,) * 60)
        with pytest.raises(InvalidValue, match=r"photos/0/00000\.jpg"):
            store.insert(info, rows)
    assert store.count(info) == 0


def test_columns_that_no_version_can_have_are_refused(store: GalleryStore, small: Any) -> None:
    with pytest.raises(InvalidValue, match="51 metadata columns"):
        store.create_version("cats", "f", small.table, [MetadataField(f"c{n}", "int") for n in range(51)])
    with pytest.raises(InvalidValue, match="one name"):
        store.create_version("cats", "f", small.table, [MetadataField("a", "int")] * 2)
    assert store.versions("cats") == []


@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_a_filtered_search_finds_the_best_of_those_that_meet_it(store: GalleryStore, make_gallery, weight) -> None:
    gallery = make_gallery(n=600, k=12)
    info = filled(store, gallery)
    store.promote(info)
    searcher = GallerySearcher(store, "cats")
    for query in gallery.probes(4):
        everything = searcher.search(query[None], 600, SearchOptions(5, weight))[0]
        for where in ("year > 2020", "ok and place like 'Ro%'", "year is null", "score > 60 and year < 2003"):
            meets = {gallery.embeddings.uris[n] for n in found(store, info, gallery, where)}
            wanted = [hit.uri for hit in everything if hit.uri in meets][:7]
            hits = searcher.search(query[None], 7, SearchOptions(5, weight, where=where))[0]
            assert [hit.uri for hit in hits] == wanted


def test_milvus_answers_random_filters_as_the_twin_in_memory(lite, small: Any) -> None:
    milvus, twin = lite(), MemoryGalleryStore()
    infos = filled(milvus, small), filled(twin, small)
    rng = random.Random(0)
    kept = 0
    for _ in range(150):
        where = _random_filter(rng, 3)
        answers = [found(store, info, small, where) for store, info in zip((milvus, twin), infos, strict=True)]
        assert answers[0] == answers[1], where
        kept += 0 < len(answers[0]) < 60
    assert kept > 50


def _random_filter(rng: random.Random, depth: int) -> str:
    if depth and rng.random() < 0.7:
        parts = [_random_filter(rng, depth - 1) for _ in range(rng.randint(1, 3))]
        joined = rng.choice([" and ", " or "]).join(parts)
        return f"{rng.choice(['', 'not '])}({joined})"
    negated = rng.choice(["", "not "])
    sign = rng.choice(["==", "!=", "<", "<=", ">", ">="])
    text = rng.choice(["'Rome'", "'Oslo'", "''", "'S'", "'100%'", "'猫'"])
    return rng.choice(
        [
            f"year {sign} {rng.randint(1999, 2026)}",
            f"score {sign} {rng.uniform(-3, 6):.3f}",
            f"place {sign} {text}",
            f"ok {rng.choice(['==', '!='])} {rng.choice(['true', 'false'])}",
            f"year {negated}in [{rng.randint(2000, 2024)}, {rng.randint(2000, 2024)}]",
            f"place {negated}in [{text}, 'Rome']",
            f"place {negated}like '{rng.choice(PATTERNS)}'",
            f"{rng.choice(['year', 'place', 'ok', 'score', '`taken at`', 'id'])} is {negated}null",
        ]
    )

"""Manifests: rows, kinds of values, and errors that name the place."""

from __future__ import annotations

import csv
import io
import json
import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import SourceError
from sbka_milvus.images.sources.manifest import Manifest, uri_column


def table(path: Path, text: str | bytes) -> Manifest:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Manifest(str(path))


def rows(manifest: Manifest) -> list[tuple[int, str, dict[str, Any]]]:
    return [(row.number, row.target or row.problem, dict(row.metadata)) for row in manifest.rows()]


def test_csv(tmp_path: Path) -> None:
    text = (
        "Path,year,score,ok,place,taken\n"
        "a.jpg,2020,1.5,true,Rome,2020-01-02\n"
        '"b, ""c"".jpg",,,false,"two\nlines",\n'
        "d.jpg,2021,2,,,2021-05-06\n"
    )
    assert rows(table(tmp_path / "m.csv", text)) == [
        (2, "a.jpg", {"year": 2020, "score": 1.5, "ok": True, "place": "Rome", "taken": "2020-01-02"}),
        (3, 'b, "c".jpg', {"ok": False, "place": "two\nlines"}),
        (4, "d.jpg", {"year": 2021, "score": 2.0, "taken": "2021-05-06"}),
    ]


def test_a_column_of_which_one_value_is_no_number_is_a_text(tmp_path: Path) -> None:
    found = rows(table(tmp_path / "m.csv", "path,year\n" + "1.jpg,2020\n" * 3 + "2.jpg,about 1990\n"))
    assert [row[2]["year"] for row in found] == ["2020"] * 3 + ["about 1990"]


def test_photos_that_are_called_like_numbers_or_days_stay_names(tmp_path: Path) -> None:
    assert [row[1] for row in rows(table(tmp_path / "m.csv", "path\n007\n2020-01-01\nNA\n"))] == [
        "007",
        "2020-01-01",
        "NA",
    ]
    found = rows(table(tmp_path / "m.jsonl", '{"path": "2020-01-01T00:00:00"}\n'))
    assert found == [(1, "2020-01-01T00:00:00", {})]


def test_tsv_and_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    assert rows(table(tmp_path / "m.tsv", "uri\tyear\r\na,b.jpg\t1\r\n")) == [(2, "a,b.jpg", {"year": 1})]
    assert rows(table(tmp_path / "m.csv", "\ufefffile,year\na.jpg,1\n")) == [(2, "a.jpg", {"year": 1})]


def test_jsonl(tmp_path: Path) -> None:
    lines = [{"file": "a.jpg", "year": 2020, "ok": True}, {"file": "b.jpg", "score": 1.5, "place": ""}, {"year": 1}]
    found = rows(table(tmp_path / "m.jsonl", "\n".join(map(json.dumps, lines)) + "\n"))
    assert found == [
        (1, "a.jpg", {"year": 2020, "ok": True}),
        (2, "b.jpg", {"score": 1.5}),
        (3, "names no photo", {}),
    ]


def test_parquet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {
        "image": ["a.jpg", "b.jpg"],
        "year": pa.array([2020, None], pa.int16()),
        "when": [datetime(2020, 1, 2, 3), None],
        "day": [date(2020, 1, 2), None],
        "ok": [True, None],
        "score": pa.array([1.5, float("nan")], pa.float32()),
        "tags": [["a"], []],
        "raw": [b"x", b"y"],
        "place": pa.array(["Rome", "Rome"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    right = {"score": 1.5, "place": "Rome"}
    assert rows(Manifest(str(tmp_path / "m.parquet"))) == [
        (1, "a.jpg", {"year": 2020, "when": "2020-01-02T03:00:00", "day": "2020-01-02", "ok": True} | right),
        (2, "b.jpg", {"place": "Rome"}),
    ]  # fmt: skip
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["tags", "raw"]


def test_a_large_table_comes_in_parts_and_in_order(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,{n}" for n in range(25_000)]
    lines[12_345] = "odd"
    found = rows(table(tmp_path / "m.csv", "path,n\n" + "\n".join(lines)))
    assert found[12_345] == (12_347, "has 1 columns instead of 2", {})
    assert [row[0] for row in found] == list(range(2, 25_002))
    assert found[-1] == (25_001, "24999.jpg", {"n": 24_999})


def test_rows_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    long = "x" * 20_000
    text = f"path,a,b\n1.jpg,1,1\n2.jpg,1\n,1,1\n4.jpg,1,1,1\n5.jpg,1,{long}\n"
    assert [(number, what) for number, what, _ in rows(table(tmp_path / "m.csv", text))] == [
        (2, "1.jpg"),
        (3, "has 2 columns instead of 3"),
        (4, "names no photo"),
        (5, "has 4 columns instead of 3"),
        (6, "5.jpg"),
    ]
    (last,) = [row for row in Manifest(str(tmp_path / "m.csv")).rows() if row.number == 6]
    assert "column 'b' is a text of 20,000 bytes" in last.problem


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("m.csv", "", "Empty CSV"),
        ("m.csv", "year;path\n1;a\n", r"no column that names the photos: its columns are 'year;path'"),
        ("m.csv", "year,place\n1,a\n", "'year', 'place'"),
        ("m.csv", "path,a,a\n1,2,3\n", "several columns 'a'"),
        ("m.csv", "path,\n1,2\n", "name ''"),
        ("m.csv", "path," + ",".join(f"c{n}" for n in range(51)) + "\n", "52 columns"),
        ("m.csv", b"path,a\n\xff\xfe.jpg,1\n", "cannot be read"),
        (
            "m.jsonl",
            '{"path": "a", "year": 1}\n{"path": "b", "year": "x"}\n',
            r"row 2, column 'year'.*number to string",
        ),
        ("m.jsonl", '{"path": "a"}\n{"path": \n', "row 2"),
        ("m.jsonl", "[1]\n", "row 1"),
        ("m.jsonl", "", "no column"),
        ("m.jsonl", '{"path": 5}\n', r"column 'path'|row 1"),
        ("m.parquet", "no parquet", "cannot be read"),
        ("m.parquet", "", "cannot be read"),
    ],
)
def test_errors_name_the_manifest_and_the_place(tmp_path: Path, name: str, text: Any, problem: str) -> None:
    manifest = table(tmp_path / name, text)
    with pytest.raises(SourceError, match=problem) as caught:
        rows(manifest)
    assert str(tmp_path / name) in caught.value.problem


def test_a_manifest_that_is_gone_or_closed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        Manifest(str(tmp_path / "m.csv")).check()
    if os.geteuid() != 0:
        (tmp_path / "m.csv").touch(mode=0)
        with pytest.raises(SourceError, match="Permission"):
            Manifest(str(tmp_path / "m.csv")).check()


def test_bytes_are_read_as_a_file_is() -> None:
    assert rows(Manifest("https://e.org/m.csv?x=1", b"path,n\na.jpg,1\n")) == [(2, "a.jpg", {"n": 1})]
    assert rows(Manifest("s3://b/m.ndjson", b'{"path": "a.jpg", "n": 1}')) == [(1, "a.jpg", {"n": 1})]
    file = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.jpg"]}), file)
    assert rows(Manifest("memory://m.parquet", file.getvalue())) == [(1, "a.jpg", {})]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(NAMES.filter(str.strip), st.integers(-(2**63), 2**63 - 1), NAMES), min_size=1, max_size=10))
def test_odd_names_come_back_from_every_kind_of_table(written: list[tuple[str, int, str]]) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "n", "place"), *written])
    # Pure texts of digits and the like would be read as what they look like in a .csv, so a word stands beside.
    writer.writerow(("last.jpg", "0", "a word"))
    lines = [json.dumps({"path": p, "n": n, "place": f"- {place}"}, ensure_ascii=n % 2 == 0) for p, n, place in written]
    columns = {name: [row[at] for row in written] for at, name in enumerate(("path", "n", "place"))}
    parquet = io.BytesIO()
    pq.write_table(pa.table(columns), parquet)
    expected = [(path, {"n": n, "place": place}) for path, n, place in written]
    found = {
        "csv": rows(Manifest("memory://m.csv", file.getvalue().encode()))[:-1],
        "parquet": rows(Manifest("memory://m.parquet", parquet.getvalue())),
    }
    for kind, read in found.items():
        assert [row[1:] for row in read] == expected, kind
    read = rows(Manifest("memory://m.jsonl", "\n".join(lines).encode()))
    assert [row[1:] for row in read] == [(path, said | {"place": f"- {said['place']}"}) for path, said in expected]


def test_the_column_that_names_photos() -> None:
    assert uri_column(["file", "URI", "path"]) == "URI"
    assert uri_column(["File_Name"]) == "File_Name"
    assert uri_column([]) is None

import copy
import json
import pickle
from dataclasses import replace

import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import EvaluationReport, MethodScores

REPORT = EvaluationReport(
    data_set="sketchy-mini",
    split_name="sketchy-25",
    split_digest="0123abcd",
    protocol="plain",
    n_queries=625,
    n_gallery=625,
    n_categories=25,
    n_clusters=32,
    cluster_weight=0.8,
    fingerprint="f00d",
    rows=(
        MethodScores("chance", {"mAP@all": 0.0493, "P@100": 0.04}),
        MethodScores("one-to-many", {"mAP@all": 0.1462, "P@100": 0.2}),
    ),
    categories={"bat": 0.25, "café \udcff": 0.5},
    notes=("gallery holds 3 categories outside the split",),
)


def test_json_gives_the_same_report_back():
    text = REPORT.to_json()
    assert text.isascii()
    assert EvaluationReport.from_json(text) == REPORT
    assert EvaluationReport.from_json(text).to_json() == text


def test_json_is_plain_to_read_elsewhere():
    document = json.loads(REPORT.to_json())
    assert document["rows"][1] == {"method": "one-to-many", "values": {"mAP@all": 0.1462, "P@100": 0.2}}
    assert document["n_gallery"] == 625


def test_reports_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(REPORT)) == REPORT
    assert copy.deepcopy(REPORT) == REPORT


def test_a_report_does_not_change_with_the_mapping_it_was_made_from():
    values, categories = {"mAP@all": 0.5}, {"bat": 0.5}
    report = replace(REPORT, rows=(MethodScores("m", values),), categories=categories)
    values["mAP@all"] = categories["bat"] = 0.9
    assert report.score("m", "mAP@all") == 0.5
    assert report.categories == {"bat": 0.5}


def test_score_finds_a_method_and_says_what_there_is():
    assert REPORT.score("one-to-many", "P@100") == 0.2
    with pytest.raises(InvalidValue, match=r"It has mAP@all, P@100 of chance, one-to-many"):
        REPORT.score("one-to-many", "P@10")
    with pytest.raises(InvalidValue, match="no mAP@all of 'frozen'"):
        REPORT.score("frozen", "mAP@all")


def test_table_shows_three_decimals_in_the_order_of_the_first_row():
    other_order = MethodScores("one-to-many", {"P@100": 0.2, "mAP@all": 0.1462})
    header, body = replace(REPORT, rows=(REPORT.rows[0], other_order)).table()
    assert header == ("method", "mAP@all", "P@100")
    assert body == (("chance", "0.049", "0.040"), ("one-to-many", "0.146", "0.200"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_set", ""),
        ("split_digest", None),
        ("fingerprint", 7),
        ("protocol", "sake"),
        ("n_queries", 0),
        ("n_gallery", 1.0),
        ("n_categories", True),
        ("n_clusters", -1),
        ("cluster_weight", 1.1),
        ("cluster_weight", float("nan")),
        ("rows", ()),
        ("rows", list(REPORT.rows)),
        ("rows", (REPORT.rows[0], REPORT.rows[0])),
        ("rows", (REPORT.rows[0], MethodScores("frozen", {"mAP@all": 0.1}))),
        ("categories", {"bat": 1.5}),
        ("categories", {3: 0.5}),
        ("categories", [0.5]),
        ("notes", "one text"),
        ("notes", (3,)),
    ],
)
def test_a_bad_state_is_refused(field, value):
    with pytest.raises(InvalidValue):
        replace(REPORT, **{field: value})


def test_the_protocol_that_is_not_measured_is_named():
    with pytest.raises(InvalidValue, match=r"'sake' is not known\. Known are: plain"):
        replace(REPORT, protocol="sake")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "0.5", True, None])
def test_scores_outside_their_range_are_refused(value):
    with pytest.raises(InvalidValue, match="A score is a number in"):
        MethodScores("m", {"mAP@all": value})


@pytest.mark.parametrize("name", ["mAP", "mAP@0", "P@all", "P@-1", "R@10", "P@10 ", 10])
def test_metrics_of_unknown_name_are_refused(name):
    with pytest.raises(InvalidValue, match="is no metric"):
        MethodScores("m", {name: 0.5})


def test_methods_need_a_name_and_scores():
    with pytest.raises(InvalidValue, match="no name"):
        MethodScores("", {"mAP@all": 0.5})
    with pytest.raises(InvalidValue, match="no scores"):
        MethodScores("m", {})


def changed(**changes: object) -> str:
    return json.dumps({**json.loads(REPORT.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ("{}", "lacks .*'data_set'"),
        (changed(colour="red"), r"\['colour'\] too many"),
        (changed(rows="chance"), "rows are no list"),
        (changed(notes={}), "notes are no list"),
        (changed(rows=[3]), "row of the evaluation report is no JSON object"),
        (changed(rows=[{"method": "m"}]), r"row of the evaluation report lacks \['values'\]"),
        (changed(rows=[{"method": "m", "values": [1]}]), "has no scores"),
        (changed(categories={"bat": float("nan")}), "'bat' of categories is nan"),
        (changed(n_queries="625"), "n_queries is '625'"),
    ],
)
def test_json_that_is_no_report_is_refused(text, problem):
    with pytest.raises(InvalidValue, match=problem):
        EvaluationReport.from_json(text)

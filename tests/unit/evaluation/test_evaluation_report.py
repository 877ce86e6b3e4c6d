import copy
import json
import pickle
from dataclasses import replace

import pytest

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import (
    CategoryScores,
    EvaluationReport,
    Example,
    ExampleHit,
    MethodDifference,
    MethodScores,
    Resampling,
    ScoreTable,
    SeenPhotos,
)

CURVE = tuple(1 - level / 40 for level in range(21))
REPORT = EvaluationReport(
    data_set="sketchy-mini",
    split_name="sketchy-25",
    split_digest="0123abcd",
    protocol="sake",
    n_queries=625,
    n_gallery=1125,
    n_categories=25,
    n_clusters=32,
    cluster_weight=0.8,
    fingerprint="f00d",
    rows=(
        MethodScores("chance", {"mAP@all": 0.0493, "P@100": 0.04}),
        MethodScores("one-to-many", {"mAP@all": 0.1462, "P@100": 0.2}, {"mAP@all": (0.12, 0.17)}),
    ),
    categories=(
        CategoryScores("bat", 25, 20, {"one-to-many": {"mAP@all": 0.25}}),
        CategoryScores("café \udcff", 30, 25, {"one-to-many": {"mAP@all": 0.5}}),
    ),
    notes=("gallery holds 3 categories outside the split",),
    resampling=Resampling(200, 0.9, 7, "categories"),
    differences=(MethodDifference("one-to-many", "one-to-one", "mAP@all", -0.02, -0.05, 0.01, 0.1),),
    deduplicated=ScoreTable(625, 600, (MethodScores("one-to-many", {"mAP@all": 0.14}),)),
    drawn=ScoreTable(500, 1125, (MethodScores("one-to-many", {"R@1": 0.02, "R@1 in category": 0.1}),)),
    seen=SeenPhotos(0.2, 0, 500, 100),
    curves={"one-to-many": CURVE},
    examples=(Example("best", "/s/\udcff-1.png", "bat", 0.9, (ExampleHit("/p/1.jpg", True), ExampleHit("b", False))),),
)
BARE = replace(
    REPORT, notes=(), resampling=None, differences=(), deduplicated=None, drawn=None, seen=None, curves={}, examples=()
)


@pytest.mark.parametrize("report", [REPORT, BARE], ids=["full", "bare"])
def test_json_gives_the_same_report_back(report):
    text = report.to_json()
    assert text.isascii()
    assert EvaluationReport.from_json(text) == report
    assert EvaluationReport.from_json(text).to_json() == text


def test_json_is_plain_to_read_elsewhere():
    document = json.loads(REPORT.to_json())
    assert document["format"] == 2
    assert document["rows"][1] == {
        "method": "one-to-many",
        "values": {"mAP@all": 0.1462, "P@100": 0.2},
        "intervals": {"mAP@all": [0.12, 0.17]},
    }
    assert document["n_gallery"] == 1125
    assert document["seen"] == {"share": 0.2, "seed": 0, "n_photos": 500, "n_categories": 100}
    assert document["examples"][0]["hits"][0] == {"uri": "/p/1.jpg", "right": True}


def test_reports_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(REPORT)) == REPORT
    assert copy.deepcopy(REPORT) == REPORT


def test_a_report_does_not_change_with_the_mappings_it_was_made_from():
    values, intervals, figures = {"mAP@all": 0.5}, {"mAP@all": (0.4, 0.6)}, {"m": {"mAP@all": 0.5}}
    row, category = MethodScores("m", values, intervals), CategoryScores("bat", 1, 1, figures)
    curves = {"m": CURVE}
    report = replace(REPORT, rows=(row,), categories=(category,), curves=curves)
    values["mAP@all"] = figures["m"]["mAP@all"] = 0.9
    intervals.clear()
    curves.clear()
    assert report.score("m", "mAP@all") == 0.5
    assert report.rows[0].intervals == {"mAP@all": (0.4, 0.6)}
    assert report.categories[0].values == {"m": {"mAP@all": 0.5}}
    assert report.curves == {"m": CURVE}


def test_the_headline_is_one_to_many_or_the_last_method():
    assert REPORT.headline == "one-to-many"
    assert replace(REPORT, rows=REPORT.rows[:1]).headline == "chance"


def test_table_shows_intervals_where_there_are_some():
    _, body = REPORT.table(intervals=True)
    assert body == (("chance", "0.049", "0.040"), ("one-to-many", "0.146\n0.120–0.170", "0.200"))


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
        ("protocol", "voc"),
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
        ("categories", {"bat": 0.5}),
        ("curves", {"m": (0.5,)}),
        ("curves", {"m": (1.5,) * 21}),
        ("notes", "one text"),
        ("notes", (3,)),
    ],
)
def test_a_bad_state_is_refused(field, value):
    with pytest.raises(InvalidValue):
        replace(REPORT, **{field: value})


def test_the_protocol_that_is_not_measured_is_named():
    with pytest.raises(InvalidValue, match=r"'voc' is not known\. Known are: plain, sake, zse"):
        replace(REPORT, protocol="voc")


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "0.5", True, None])
def test_scores_outside_their_range_are_refused(value):
    with pytest.raises(InvalidValue, match="A score is a number in"):
        MethodScores("m", {"mAP@all": value})


@pytest.mark.parametrize(
    "name", ["mAP", "mAP@0", "P@all", "P@-1", "P@10 ", "P@10 lenient", "mAP@all lenient", "R@10 in gallery", 10]
)
def test_metrics_of_unknown_name_are_refused(name):
    with pytest.raises(InvalidValue, match="is no metric"):
        MethodScores("m", {name: 0.5})


def test_methods_need_a_name_and_scores():
    with pytest.raises(InvalidValue, match="no name"):
        MethodScores("", {"mAP@all": 0.5})
    with pytest.raises(InvalidValue, match="no scores"):
        MethodScores("m", {})


@pytest.mark.parametrize(
    ("kind", "arguments", "problem"),
    [
        (MethodScores, ("m", {"P@1": 0.5}, {"P@2": (0, 1)}), "of a metric that the method has"),
        (MethodScores, ("m", {"P@1": 0.5}, {"P@1": (0.6, 0.4)}), "the lower one first"),
        (MethodScores, ("m", {"P@1": 0.5}, {"P@1": (0.1, 1.4)}), "must hold two scores"),
        (MethodScores, ("m", {"P@1": 0.5}, {"P@1": 0.4}), "must hold two scores"),
        (CategoryScores, ("", 1, 1, {}), "category has no name"),
        (CategoryScores, ("bat", 0, 1, {}), "n_queries of 'bat' is 0"),
        (CategoryScores, ("bat", 1, True, {}), "n_photos of 'bat' is True"),
        (CategoryScores, ("bat", 1, 1, {"m": {"P@1": 2.0}}), "'P@1' of 'm' in category 'bat' is 2.0"),
        (ScoreTable, (0, 1, REPORT.rows), "n_queries is 0"),
        (ScoreTable, (1, 1, ()), "at least one"),
        (MethodDifference, ("a", "b", "P@1", 1.5, 0, 0, 0), "value is 1.5"),
        (MethodDifference, ("a", "b", "P@1", 0, 0.1, -0.1, 0), "lower end first"),
        (MethodDifference, ("a", "b", "P@1", 0, 0, 0, 2), "share_above is 2"),
        (SeenPhotos, (0.0, 0, 1, 1), "share of seen photos is 0.0"),
        (SeenPhotos, (0.2, 0, 0, 1), "number of seen photos is 0"),
        (Example, ("good", "s", "bat", 0.5, ()), "example is 'good'"),
        (Example, ("best", "s", "bat", 1.5, ()), "average_precision is 1.5"),
    ],
)
def test_parts_in_a_bad_state_are_refused(kind, arguments, problem):
    with pytest.raises(InvalidValue, match=problem):
        kind(*arguments)


def changed(**changes: object) -> str:
    return json.dumps({**json.loads(REPORT.to_json()), **changes})


def test_reports_of_the_first_format_are_refused_and_say_why():
    document = json.loads(REPORT.to_json())
    old = {name: document[name] for name in ("data_set", "split_name", "split_digest", "rows", "notes")}
    with pytest.raises(InvalidValue, match=r"is of format 1; this version reads format 2\. Evaluate again: earlier"):
        EvaluationReport.from_json(json.dumps({**old, "categories": {"bat": 0.25}}))
    with pytest.raises(InvalidValue, match="is of format 3"):
        EvaluationReport.from_json(changed(format=3))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"format": 2}', "lacks .*'data_set'"),
        (changed(colour="red"), r"\['colour'\] too many"),
        (changed(rows="chance"), "rows of the evaluation report are no list"),
        (changed(notes={}), "notes of the evaluation report are no list"),
        (changed(notes=[3]), "entry of notes of the evaluation report is 3"),
        (changed(rows=[3]), "entry of rows of the evaluation report is no JSON object"),
        (changed(rows=[{"method": "m"}]), r"lacks \['intervals', 'values'\]"),
        (
            changed(rows=[{"method": "m", "values": [1], "intervals": {}}]),
            "values of the entry of rows .* are no object",
        ),
        (changed(rows=[{"method": "m", "values": {"P@1": "x"}, "intervals": {}}]), "'P@1' of values .* is 'x'"),
        (changed(rows=[{"method": "m", "values": {"P@1": 1}, "intervals": {"P@1": [1]}}]), "are 1 where 2 are needed"),
        (changed(curves={"m": [float("nan")] * 21}), "curve of 'm'"),
        (changed(n_queries="625"), "n_queries of the evaluation report is '625'"),
        (changed(n_queries=True), "n_queries of the evaluation report is True"),
        (changed(drawn=[]), "drawn of the evaluation report is no JSON object"),
        (changed(resampling={"resamples": 100, "level": 0.9, "seed": 0, "over": "photos"}), "drawn over 'photos'"),
    ],
)
def test_json_that_is_no_report_is_refused(text, problem):
    with pytest.raises(InvalidValue, match=problem):
        EvaluationReport.from_json(text)

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.errors import InvalidValue
from sbka_milvus.evaluation import CategoryScores, EvaluationReport, MethodScores
from sbka_milvus.evaluation.plots import draw_categories, draw_precision_recall

LEVELS = np.linspace(0, 1, 21)
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def report(names: list[str], figures: list[float], curves: dict[str, tuple[float, ...]]) -> EvaluationReport:
    return EvaluationReport(
        data_set="drawn",
        split_name="tiny",
        split_digest="abc",
        protocol="plain",
        n_queries=len(names),
        n_gallery=100,
        n_categories=len(names),
        n_clusters=3,
        cluster_weight=0.8,
        fingerprint="f00d",
        rows=(MethodScores("mine", {"mAP@all": float(np.mean(figures))}),),
        categories=tuple(
            CategoryScores(name, 1, 10, {"mine": {"mAP@all": value}})
            for name, value in zip(names, figures, strict=True)
        ),
        curves=curves,
    )


REPORT = report(["ant", "bee"], [0.9, 0.3], {"one": tuple(1 - LEVELS), "two": tuple(0.5 - LEVELS / 2)})


def pixels(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def places(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero((np.abs(picture.astype(int) - colour) < 12).all(axis=2))


def test_curves_fall_and_the_better_one_is_above():
    picture = pixels(draw_precision_recall(REPORT))
    (one_y, one_x), (two_y, two_x) = places(picture, BLUE), places(picture, ORANGE)
    left = picture.shape[1] // 4
    assert one_y[one_x == left].mean() < two_y[two_x == left].mean()
    # The legend is to the upper right, the curve ends at the lower right.
    assert one_y.max() > one_y[one_x == left].max() + 100


def test_bars_are_sorted_and_as_long_as_their_figures():
    picture = pixels(draw_categories(REPORT))
    rows, columns = places(picture, BLUE)
    widths = np.bincount(rows)
    upper, lower = np.flatnonzero(widths)[[3, -4]]
    assert columns[rows == lower].max() < columns[rows == upper].max()
    start = columns.min()
    ratio = (columns[rows == upper].max() - start) / (columns[rows == lower].max() - start)
    assert ratio == pytest.approx(3, rel=0.05)


def test_a_plot_grows_with_its_categories():
    names = [f"c{number}" for number in range(30)]
    tall = pixels(draw_categories(report(names, [0.5] * 30, {})))
    assert tall.shape[0] > 2 * pixels(draw_categories(REPORT)).shape[0]
    assert tall.shape[1] == pixels(draw_categories(REPORT)).shape[1]


def test_names_of_any_letters_are_drawn_and_start_no_formula():
    odd = report(["$x_", "猫", "café \udcff", "a_b"], [0.1, 0.2, 0.3, 0.4], {})
    assert pixels(draw_categories(odd)).shape[0] > 100


def test_the_same_report_gives_the_same_picture():
    assert draw_precision_recall(REPORT) == draw_precision_recall(REPORT)


def test_many_methods_are_told_apart():
    curves = {f"method {number}": tuple((1 - LEVELS) * (number + 1) / 9) for number in range(9)}
    assert pixels(draw_precision_recall(replace(REPORT, curves=curves))).shape[0] > 100


def test_a_report_without_figures_to_draw_is_refused():
    with pytest.raises(InvalidValue, match="no precision-recall curves"):
        draw_precision_recall(replace(REPORT, curves={}))
    with pytest.raises(InvalidValue, match="no categories"):
        draw_categories(replace(REPORT, categories=()))

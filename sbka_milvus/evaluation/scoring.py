"""From the scores of single queries to the rows of a report: averages, intervals, differences, categories, chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sbka_milvus.evaluation.bootstrap import paired_differences, percentile_interval, resampled_means
from sbka_milvus.evaluation.chance import (
    expected_random_average_precision,
    expected_random_precision_at_k,
    expected_random_recall,
    simulated_random_average_precision,
)
from sbka_milvus.evaluation.plan import RECALL_KS, EvaluationPlan
from sbka_milvus.evaluation.protocols import PROTOCOLS, Protocol
from sbka_milvus.evaluation.ranks import Float64Array
from sbka_milvus.evaluation.report_parts import CategoryScores, MethodDifference, MethodScores
from sbka_milvus.evaluation.tally import QueryScores
from sbka_milvus.evaluation.truth import Truth
from sbka_milvus.types import IntArray

CHANCE = "chance"


def score_method(
    method: str, values: Mapping[str, Float64Array], labels: IntArray, rules: Protocol, plan: EvaluationPlan
) -> MethodScores:
    """The averages of one method, with their intervals where the plan asks for them.

    Args:
        method: its name.
        values: metric to shape (Q,), float64.
        labels: shape (Q,), int64: the category of each query.
        rules: how to average; R@k is a mean over queries in every protocol.
        plan: how to draw.
    """
    means = {name: _clipped(rules.mean(figures, labels)) for name, figures in values.items()}
    if plan.resampling is None:
        return MethodScores(method, means)
    drawn = resampled_means(np.stack(list(values.values()), axis=1), labels, rules, plan.resampling)
    ends = zip(*percentile_interval(drawn, plan.resampling.level), strict=True)
    return MethodScores(
        method, means, {name: (_clipped(low), _clipped(high)) for name, (low, high) in zip(values, ends, strict=True)}
    )


def score_methods(scores: Sequence[QueryScores], truth: Truth, plan: EvaluationPlan) -> tuple[MethodScores, ...]:
    """Chance, and each method by the protocol."""
    rows = [score_method(one.method, one.values, truth.labels, plan.rules, plan) for one in scores]
    return (score_chance(truth, plan), *rows)


def score_chance(truth: Truth, plan: EvaluationPlan) -> MethodScores:
    """What rankings drawn at random are expected to score, by the protocol."""
    rules, counts, n_gallery = plan.rules, truth.n_relevant, truth.n_gallery

    def expected(k: int | None, lenient: bool) -> Float64Array:
        if rules.interpolated:
            return simulated_random_average_precision(counts, n_gallery, k, lenient=lenient, seed=plan.seed)
        return expected_random_average_precision(counts, n_gallery, k, lenient=lenient)

    values = {"mAP@all": expected(None, False)}
    for k in plan.map_ks:
        values |= {f"mAP@{k}": expected(k, False), f"mAP@{k} lenient": expected(k, True)}
    values |= {f"P@{k}": expected_random_precision_at_k(counts, n_gallery, k, rules) for k in plan.ks}
    return MethodScores(CHANCE, {name: _clipped(rules.mean(value, truth.labels)) for name, value in values.items()})


def score_drawn(scores: Sequence[QueryScores], truth: Truth, plan: EvaluationPlan) -> tuple[MethodScores, ...]:
    """Chance, and R@k of each method, over the queries whose drawn photo is in the gallery; none: no rows."""
    known = truth.n_drawn > 0
    if not known.any():
        return ()
    rules, labels, targets = PROTOCOLS["plain"], truth.labels[known], truth.n_drawn[known]
    chance = {
        f"R@{k}{where}": _clipped(float(expected_random_recall(targets, total, k).mean()))
        for where, total in (("", truth.n_gallery), (" in category", truth.n_relevant[known]))
        for k in RECALL_KS
    }
    rows = [score_method(one.method, one.recalls(), labels, rules, plan) for one in scores]
    return (MethodScores(CHANCE, chance), *rows)


def score_differences(
    scores: Sequence[QueryScores], truth: Truth, plan: EvaluationPlan
) -> tuple[MethodDifference, ...]:
    """Each method against the first one, every figure, on the same queries drawn for both."""
    if plan.resampling is None:
        return ()
    base, found = scores[0], []
    for one in scores[1:]:
        first, second = (np.stack([method.values[name] for name in one.values], axis=1) for method in (one, base))
        pairs = paired_differences(first, second, truth.labels, plan.rules, plan.resampling)
        found += [
            MethodDifference(one.method, base.method, name, pair.value, pair.low, pair.high, pair.share_above)
            for name, pair in zip(one.values, pairs, strict=True)
        ]
    return tuple(found)


def score_categories(scores: Sequence[QueryScores], truth: Truth) -> tuple[CategoryScores, ...]:
    """Each category that has a query, in the order of the labels: counts, and each method's mean over its queries."""
    queries = np.bincount(truth.labels, minlength=len(truth.names))

    def means(one: QueryScores) -> dict[str, Float64Array]:
        return {
            name: np.bincount(truth.labels, weights=values, minlength=len(truth.names)) / np.maximum(queries, 1)
            for name, values in one.values.items()
        }

    by_method = {one.method: means(one) for one in scores}
    return tuple(
        CategoryScores(
            truth.names[label],
            int(queries[label]),
            int(truth.photo_counts[label]),
            {
                method: {name: _clipped(values[label]) for name, values in figures.items()}
                for method, figures in by_method.items()
            },
        )
        for label in np.flatnonzero(queries).tolist()
    )


def average_curves(scores: Sequence[QueryScores], truth: Truth, plan: EvaluationPlan) -> dict[str, tuple[float, ...]]:
    """The precision-recall curve of each method, averaged as the protocol averages."""
    return {
        one.method: tuple(_clipped(plan.rules.mean(column, truth.labels)) for column in one.curves.T) for one in scores
    }


def _clipped(value: float) -> float:
    """A mean of scores may leave [0, 1] by a rounding."""
    return min(1.0, max(0.0, float(value)))

"""From what was measured to the report of an evaluation."""

from __future__ import annotations

from sbka_milvus.errors import DatasetError
from sbka_milvus.evaluation import (
    EvaluationPlan,
    EvaluationReport,
    Example,
    ExampleHit,
    ScoreTable,
    SeenPhotos,
    average_curves,
    pick_examples,
    score_categories,
    score_differences,
    score_drawn,
    score_methods,
)
from sbka_milvus.images import Split
from sbka_milvus.images.datasets import name_key
from sbka_milvus.pipelines.evaluate_options import EvaluateOptions
from sbka_milvus.pipelines.measured import Measured, Scored
from sbka_milvus.pipelines.rankings import ONE_TO_MANY


def make_report(measured: Measured, split: Split, fingerprint: str, options: EvaluateOptions) -> EvaluationReport:
    """The report of what was measured. Categories of the gallery that are not unseen stay in it, and are noted.

    Raises:
        DatasetError: A generalised gallery was asked for and holds no seen photo.
    """
    plan, truth, scores = options.plan, measured.standard.truth, measured.standard.scores
    notes = list(measured.notes)
    seen, note = _seen(measured.standard, split, plan)
    notes += [note] if note else []
    if plan.rules.interpolated:
        notes.append("Chance of the interpolated average precision is the mean over rankings drawn at random.")
    drawn = score_drawn(scores, truth, plan)
    return EvaluationReport(
        data_set=options.data_set,
        split_name=split.name,
        split_digest=split.digest,
        protocol=plan.protocol,
        n_queries=len(truth.labels),
        n_gallery=truth.n_gallery,
        n_categories=len(set(truth.labels.tolist())),
        n_clusters=measured.n_clusters,
        cluster_weight=options.cluster_weight,
        fingerprint=fingerprint,
        rows=score_methods(scores, truth, plan),
        categories=score_categories(scores, truth),
        notes=tuple(notes),
        resampling=plan.resampling,
        differences=score_differences(scores, truth, plan),
        deduplicated=None if measured.deduplicated is None else _table(measured.deduplicated, plan),
        drawn=ScoreTable(int((truth.n_drawn > 0).sum()), truth.n_gallery, drawn) if drawn else None,
        seen=seen,
        curves=average_curves(scores, truth, plan),
        examples=_examples(measured),
    )


def _table(scored: Scored, plan: EvaluationPlan) -> ScoreTable:
    truth = scored.truth
    return ScoreTable(len(truth.labels), truth.n_gallery, score_methods(scored.scores, truth, plan))


def _seen(scored: Scored, split: Split, plan: EvaluationPlan) -> tuple[SeenPhotos | None, str]:
    """What of the gallery is not unseen, and a note on it."""
    truth = scored.truth
    unseen = {name_key(name) for name in split.unseen}
    outside = [
        (name, count)
        for name, count in zip(truth.names, truth.photo_counts.tolist(), strict=True)
        if count and name_key(name) not in unseen
    ]
    photos = sum(count for _, count in outside)
    if plan.seen_share is None:
        note = f"The gallery holds {len(outside)} categories outside the split's unseen ones." if outside else ""
        return None, note
    if not photos:
        raise DatasetError(
            "The gallery was to be generalised and holds no photo of a seen category.",
            "Add photos of seen categories, or evaluate without them.",
        )
    note = (
        f"Generalised: {photos} photos of {len(outside)} seen categories "
        f"({plan.seen_share:.0%} of the seen photos, seed {plan.seed}) are in the gallery."
    )
    return SeenPhotos(plan.seen_share, plan.seed, photos, len(outside)), note


def _examples(measured: Measured) -> tuple[Example, ...]:
    truth = measured.standard.truth
    by_method = {one.method: one for one in measured.standard.scores}
    one = by_method.get(ONE_TO_MANY, measured.standard.scores[-1])
    precisions = one.values["mAP@all"]

    def example(kind: str, query: int) -> Example:
        label = int(truth.labels[query])
        hits = tuple(
            ExampleHit(measured.uris[position], int(truth.photo_labels[position]) == label)
            for position in one.first[query].tolist()
        )
        return Example(kind, str(measured.sketches[query]), truth.names[label], float(precisions[query]), hits)

    best, worst = pick_examples(precisions, truth.labels)
    return (*(example("best", query) for query in best), *(example("worst", query) for query in worst))

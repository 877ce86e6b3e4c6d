"""What ``sbka retrain show`` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sbka_milvus.embeddings import Gallery
    from sbka_milvus.pipelines.drift import DriftReport
    from sbka_milvus.pipelines.retraining import Outlook, RetrainingPolicy, RetrainingRecord


def show_retraining(gallery: Gallery, as_json: bool) -> None:
    """Prints the policy, how near each trigger is, and the retrainings so far.

    Raises:
        GalleryError: There is no policy, or a file of the gallery is damaged.
        DatasetError: The training data are gone.
    """
    from sbka_milvus.cli.console import print_json
    from sbka_milvus.feedback import FeedbackLog
    from sbka_milvus.pipelines.drift import drift_of
    from sbka_milvus.pipelines.retraining import RetrainingPolicy, outlook_of, read_retrainings

    policy, records, drift = RetrainingPolicy.load(gallery.root), read_retrainings(gallery), drift_of(gallery)
    outlook = outlook_of(gallery, datetime.now(UTC))
    last = records[-1].started if records else None
    new_pairs = FeedbackLog(gallery.root).count_since(last)
    if as_json:
        print_json(
            {
                "gallery": str(gallery.root),
                "policy": policy.model_dump(mode="json"),
                "retrainings": [record.model_dump(mode="json") for record in records],
                "drift": drift.to_dict(),
                "new_pairs": new_pairs,
                "due": None
                if outlook.reason is None
                else {"trigger": outlook.reason.trigger, "why": str(outlook.reason)},
                "blocked": outlook.blocked,
                "triggers": {one.trigger: one.text for one in outlook.triggers},
            }
        )
        return
    _show_policy(gallery, policy, drift, outlook, new_pairs)
    _show_records(records)


def _show_policy(
    gallery: Gallery, policy: RetrainingPolicy, drift: DriftReport, outlook: Outlook, new_pairs: int
) -> None:
    from sbka_milvus.cli.console import out, print_table, printable

    gate = policy.gate
    measured = (
        f"mAP on {gate.held_out}, loss at most {gate.max_loss:g}"
        if gate.held_out
        else (f"agreement on feedback sketches, at least {gate.min_agreement:g}")
    )
    print_table(
        f"Retraining of {printable(gallery.root)}",
        ("", "value"),
        [
            ("photos", policy.photos),
            ("sketches", _sketches(policy)),
            ("split", policy.split or "none: all categories are seen"),
            ("training", f"{policy.backbone}, {policy.options.mode}, {policy.options.epochs} epochs"),
            *_lessons(policy),
            ("gate", "forced" if gate.force else measured),
            ("starts by itself", ", ".join(policy.triggers) or "never"),
            ("new verdicts", new_pairs),
            ("drift", f"{drift.drift:.3f} over {drift.n_new} new photos" if drift.reference else "not measured yet"),
        ],
        numeric_from=2,
    )
    for one in outlook.triggers:
        out.print(f"{one.trigger}: {printable(one.text)}.", highlight=False)
    if outlook.reason is not None:
        out.print(f"Due now ({outlook.reason.trigger}).", highlight=False)
    else:
        out.print(f"Not due{f': {outlook.blocked}' if outlook.blocked else ''}.", highlight=False)


def _sketches(policy: RetrainingPolicy) -> str:
    if policy.sketches is None:
        return "made from the photos"
    return str(policy.sketches) + (", and some made from the photos" if policy.options.pseudo_sketches else "")


def _lessons(policy: RetrainingPolicy) -> list[tuple[str, object]]:
    """What else the training learns from, where there is anything."""
    told = {
        "teacher": policy.teacher or policy.teacher_backbone,
        "classes it knows": policy.knowledge_names,
        "affinities": policy.affinity,
        "word vectors": policy.semantics,
    }
    return [(name, value) for name, value in told.items() if value is not None]


def _show_records(records: list[RetrainingRecord]) -> None:
    from sbka_milvus.cli.console import print_table

    if not records:
        return
    print_table(
        "Retrainings",
        ("started (UTC)", "job", "why", "ended", "model", "message"),
        (
            (
                f"{record.started.astimezone(UTC):%Y-%m-%d %H:%M}",
                record.job,
                record.reason,
                record.status,
                record.new_fingerprint[:12] or "-",
                record.message or "-",
            )
            for record in records[::-1]
        ),
        numeric_from=6,
    )

"""Options of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from sbka_milvus.evaluation import EvaluationPlan


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """How to evaluate.

    Attributes:
        data_set: its name in the report.
        input_size: side in pixels to which sketches are normalised.
        cluster_weight: of the one-to-many score.
        n_clusters: clusters, where photos are evaluated without a gallery; 0: chosen from their number.
        seed: of the clustering, likewise.
        plan: what to measure.
    """

    data_set: str
    input_size: int
    cluster_weight: float = 0.8
    n_clusters: int = 0
    seed: int = 0
    plan: EvaluationPlan = field(default_factory=EvaluationPlan)

"""How good a ranking is: relevance, metrics, exact rankings to measure against, and the report of a run."""

from sbka_milvus.evaluation.metrics import (
    average_precision,
    expected_random_average_precision,
    expected_random_precision_at_k,
    mean_average_precision,
    precision_at_k,
)
from sbka_milvus.evaluation.ranking import rank_one_to_many, rank_one_to_one
from sbka_milvus.evaluation.relevance import (
    NOT_FOUND,
    answerable,
    count_labels,
    label_rankings,
    relevance_blocks,
    relevance_matrix,
    relevant_counts,
)
from sbka_milvus.evaluation.report import PROTOCOLS, EvaluationReport, MethodScores
from sbka_milvus.evaluation.scoring import score_categories, score_chance, score_rankings

__all__ = [
    "NOT_FOUND",
    "PROTOCOLS",
    "EvaluationReport",
    "MethodScores",
    "answerable",
    "average_precision",
    "count_labels",
    "expected_random_average_precision",
    "expected_random_precision_at_k",
    "label_rankings",
    "mean_average_precision",
    "precision_at_k",
    "rank_one_to_many",
    "rank_one_to_one",
    "relevance_blocks",
    "relevance_matrix",
    "relevant_counts",
    "score_categories",
    "score_chance",
    "score_rankings",
]

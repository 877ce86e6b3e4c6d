"""How good a ranking is: relevance, metrics, protocols, intervals, exact rankings to measure against, the report."""

from sbka_milvus.evaluation.bootstrap import PairedDifference, Resampling, paired_difference, resampled_means
from sbka_milvus.evaluation.chance import (
    expected_random_average_precision,
    expected_random_precision_at_k,
    simulated_random_average_precision,
)
from sbka_milvus.evaluation.drawn import drawn_photo, number_photos
from sbka_milvus.evaluation.duplicates import first_copies
from sbka_milvus.evaluation.examples import pick_examples
from sbka_milvus.evaluation.metrics import (
    average_precision,
    mean_average_precision,
    precision_at_k,
    rank_average_precision,
)
from sbka_milvus.evaluation.plan import SEEN_SHARE, EvaluationPlan
from sbka_milvus.evaluation.protocols import PROTOCOLS, Protocol, protocol_named
from sbka_milvus.evaluation.published import comparable, published_table
from sbka_milvus.evaluation.ranking import rank_one_to_many, rank_one_to_one
from sbka_milvus.evaluation.ranks import hit_ranks
from sbka_milvus.evaluation.relevance import (
    NOT_FOUND,
    answerable,
    count_labels,
    label_rankings,
    relevance_blocks,
    relevance_matrix,
    relevant_counts,
)
from sbka_milvus.evaluation.report import EvaluationReport, score_table
from sbka_milvus.evaluation.report_parts import (
    CategoryScores,
    Example,
    ExampleHit,
    MethodDifference,
    MethodScores,
    ScoreTable,
    SeenPhotos,
)
from sbka_milvus.evaluation.scoring import (
    average_curves,
    score_categories,
    score_chance,
    score_differences,
    score_drawn,
    score_methods,
)
from sbka_milvus.evaluation.tally import QueryScores, Tally
from sbka_milvus.evaluation.truth import Truth

__all__ = [
    "NOT_FOUND",
    "PROTOCOLS",
    "SEEN_SHARE",
    "CategoryScores",
    "EvaluationPlan",
    "EvaluationReport",
    "Example",
    "ExampleHit",
    "MethodDifference",
    "MethodScores",
    "PairedDifference",
    "Protocol",
    "QueryScores",
    "Resampling",
    "ScoreTable",
    "SeenPhotos",
    "Tally",
    "Truth",
    "answerable",
    "average_curves",
    "average_precision",
    "comparable",
    "count_labels",
    "drawn_photo",
    "expected_random_average_precision",
    "expected_random_precision_at_k",
    "first_copies",
    "hit_ranks",
    "label_rankings",
    "mean_average_precision",
    "number_photos",
    "paired_difference",
    "pick_examples",
    "precision_at_k",
    "protocol_named",
    "published_table",
    "rank_average_precision",
    "rank_one_to_many",
    "rank_one_to_one",
    "relevance_blocks",
    "relevance_matrix",
    "relevant_counts",
    "resampled_means",
    "score_categories",
    "score_chance",
    "score_differences",
    "score_drawn",
    "score_methods",
    "score_table",
    "simulated_random_average_precision",
]

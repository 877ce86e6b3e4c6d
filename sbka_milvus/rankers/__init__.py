"""Exact rankers over vectors, the choice among them without labels, and how sure a result is."""

from sbka_milvus.rankers.aligned import AlignedRanker
from sbka_milvus.rankers.alignment import AlignmentOptions, ModalityAlignment, mean_of
from sbka_milvus.rankers.choice import ChoiceOptions, MatchingChoice, choose_matching
from sbka_milvus.rankers.confidence import Confidence, Evidence, Labelled, Search, simulate_searches
from sbka_milvus.rankers.diffusion import Diffusion
from sbka_milvus.rankers.expansion import Expanded
from sbka_milvus.rankers.fused import Fused
from sbka_milvus.rankers.levelled import Levelled
from sbka_milvus.rankers.lifted import LiftedMatching, LiftedPhotos
from sbka_milvus.rankers.lifted_fit import LiftedOptions, fit_lifted
from sbka_milvus.rankers.matching_file import pack_matching, unpack_matching
from sbka_milvus.rankers.neighbours import NeighbourReranker
from sbka_milvus.rankers.photo_parts import PhotoParts
from sbka_milvus.rankers.plain import Plain
from sbka_milvus.rankers.quantised import Quantised
from sbka_milvus.rankers.ranker import LinearRanker, Ranker, rank_positions
from sbka_milvus.rankers.risk import Reliability, RiskCoverage, area_under_roc, reliability, risk_coverage
from sbka_milvus.rankers.served_matching import ServedMatching
from sbka_milvus.rankers.systems import full_system, linear_system

__all__ = [
    "AlignedRanker",
    "AlignmentOptions",
    "ChoiceOptions",
    "Confidence",
    "Diffusion",
    "Evidence",
    "Expanded",
    "Fused",
    "Labelled",
    "Levelled",
    "LiftedMatching",
    "LiftedOptions",
    "LiftedPhotos",
    "LinearRanker",
    "MatchingChoice",
    "ModalityAlignment",
    "NeighbourReranker",
    "PhotoParts",
    "Plain",
    "Quantised",
    "Ranker",
    "Reliability",
    "RiskCoverage",
    "Search",
    "ServedMatching",
    "area_under_roc",
    "choose_matching",
    "fit_lifted",
    "full_system",
    "linear_system",
    "mean_of",
    "pack_matching",
    "rank_positions",
    "reliability",
    "risk_coverage",
    "simulate_searches",
    "unpack_matching",
]

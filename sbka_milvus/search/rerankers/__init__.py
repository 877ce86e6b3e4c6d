"""Re-rankers: the best candidates of a search, scored anew by their vectors.

Each is a :class:`~sbka_milvus.protocols.Reranker`; a user's own may be one too, or a plain function.
"""

from sbka_milvus.search.rerankers.choice import NAMES, RerankerChoice, as_reranker
from sbka_milvus.search.rerankers.function import FunctionReranker, RerankFunction
from sbka_milvus.search.rerankers.fused import FusedReranker
from sbka_milvus.search.rerankers.neighbours import NeighbourReranker
from sbka_milvus.search.rerankers.quantised import QuantisedReranker

__all__ = [
    "NAMES",
    "FunctionReranker",
    "FusedReranker",
    "NeighbourReranker",
    "QuantisedReranker",
    "RerankFunction",
    "RerankerChoice",
    "as_reranker",
]

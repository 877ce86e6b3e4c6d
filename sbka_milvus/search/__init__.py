"""One-to-many matching: a sketch is compared with clusters of photos, then with the photos of the best ones."""

from sbka_milvus.search.fusion import fuse_scores, rerank
from sbka_milvus.search.options import SearchOptions
from sbka_milvus.search.rerankers import FusedReranker, NeighbourReranker, QuantisedReranker
from sbka_milvus.search.scores import score_clusters, select_probes
from sbka_milvus.search.searcher import GallerySearcher

__all__ = [
    "FusedReranker",
    "GallerySearcher",
    "NeighbourReranker",
    "QuantisedReranker",
    "SearchOptions",
    "fuse_scores",
    "rerank",
    "score_clusters",
    "select_probes",
]

"""Photos put into clusters that exist already: nothing is fitted."""

from __future__ import annotations

from sbka_milvus.clusters.kmeans import assign_clusters, describe_clusters
from sbka_milvus.types import Clustering, Embeddings, FloatArray


def join_clusters(embeddings: Embeddings, centroids: FloatArray) -> Clustering:
    """A gallery in clusters whose centroids stay where they are, so that scores stay comparable.

    A photo that was among those whose clusters these are stays in its own. Sizes, radii and exemplars are those of the
    photos that there are now; a cluster of which all photos are gone keeps its id and its centroid, with no member.

    Args:
        embeddings: N photos.
        centroids: shape (K, D), float32, unit rows.

    Raises:
        InvalidValue: The shapes do not fit.
    """
    return describe_clusters(embeddings, centroids, assign_clusters(embeddings.vectors, centroids))

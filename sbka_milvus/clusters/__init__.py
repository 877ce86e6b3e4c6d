"""Clusters of a gallery's photos: how many, which photo in which, how wide."""

from sbka_milvus.clusters.choice import default_n_clusters
from sbka_milvus.clusters.kmeans import assign_clusters, fit_clusters

__all__ = ["assign_clusters", "default_n_clusters", "fit_clusters"]

"""Clusters of a gallery's photos: how many, which photo in which, how wide, how even."""

from sbka_milvus.clusters.choice import default_n_clusters
from sbka_milvus.clusters.joining import join_clusters
from sbka_milvus.clusters.kmeans import assign_clusters, fit_clusters
from sbka_milvus.clusters.statistics import ClusterStatistics

__all__ = ["ClusterStatistics", "assign_clusters", "default_n_clusters", "fit_clusters", "join_clusters"]

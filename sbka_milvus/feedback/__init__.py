"""What users say of search results: which photo was right for which sketch, and what a training may learn from it."""

from sbka_milvus.feedback.labels import labelled_sketches, stored_queries
from sbka_milvus.feedback.log import FeedbackLog
from sbka_milvus.feedback.pairs import FeedbackPair

__all__ = ["FeedbackLog", "FeedbackPair", "labelled_sketches", "stored_queries"]

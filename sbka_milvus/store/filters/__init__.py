"""Filters of searches: ``year > 2020 and place like "Ro%"``, read, checked, and said to Milvus or to rows in memory."""

from __future__ import annotations

from sbka_milvus.store.filters.columns import URI_COLUMN, column_fields, milvus_name
from sbka_milvus.store.filters.grammar import parse_filter
from sbka_milvus.store.filters.milvus import to_milvus
from sbka_milvus.store.filters.rows import matches

__all__ = ["URI_COLUMN", "column_fields", "matches", "milvus_name", "parse_filter", "to_milvus"]

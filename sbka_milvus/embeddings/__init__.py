"""The gallery workspace and its embedding shards: the source of truth from which the Milvus index is built.

``Gallery`` is the workspace folder; ``ShardWriter``, ``read_records`` and ``read_embeddings`` work on its shards.
The shard modules need pyarrow, so import them from ``sbka_milvus.embeddings.shards``.
"""

from sbka_milvus.embeddings.quarantine import QuarantinedFile, read_quarantine, write_quarantine
from sbka_milvus.embeddings.records import PhotoRecords
from sbka_milvus.embeddings.workspace import Gallery

__all__ = ["Gallery", "PhotoRecords", "QuarantinedFile", "read_quarantine", "write_quarantine"]

"""The processes of ``sbka up``: Redis, Milvus, workers and beat under one supervisor."""

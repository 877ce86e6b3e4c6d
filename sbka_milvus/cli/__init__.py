"""The shell: ``sbka``."""

from sbka_milvus.cli.app import app, main

__all__ = ["app", "main"]

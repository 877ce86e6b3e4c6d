"""``python -m sbka_milvus`` is ``sbka``."""

from sbka_milvus.cli import main

main()

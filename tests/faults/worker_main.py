"""The real ``sbka``, with points at which it can be killed: ``worker_main.py FOLDER worker --queues embed``."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.points import install


def main() -> None:
    """Puts the points in, then runs the real program."""
    install(Path(sys.argv.pop(1)))

    from sbka_milvus.cli import main as sbka

    sbka()


if __name__ == "__main__":
    main()

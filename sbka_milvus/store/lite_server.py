"""Milvus Lite as a server of its own, for several processes: ``python -m sbka_milvus.store.lite_server --help``.

It takes the options of ``milvus-lite server``. What a kill left unfinished is removed first, at every start.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sbka_milvus.store.lite_files import remove_unfinished


def lite_command(folder: Path, host: str, port: int) -> tuple[str, ...]:
    """The command that serves a directory at an address."""
    options = ("--data-dir", str(folder), "--host", host, "--port", str(port))
    return (sys.executable, "-m", __name__, *options)


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to stop; gives the exit code."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data-dir", type=Path)
    folder = parser.parse_known_args(arguments)[0].data_dir
    if folder is not None:
        remove_unfinished(folder)

    from milvus_lite.cmdline import main as serve

    return int(serve(["server", *arguments]) or 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

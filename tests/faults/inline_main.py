"""``sbka`` many times over, each time in a fork of a process that has everything imported: ``inline_main.py FOLDER``.

A request is a line of JSON on standard input: ``argv``, ``env`` and ``log``; the answer is a line with the child's pid
when it starts, and one with its exit status when it ended. Nothing but imports happens before a fork: no thread runs,
no network is loaded, no Milvus is open.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from harness import points

JOB = "inline"
STEP = "ingest"
_IMPORTED = (
    "torch", "timm", "open_clip", "pymilvus", "milvus_lite", "pyarrow.parquet", "sbka_milvus.cli.app",
    "sbka_milvus.encoders.encoder", "sbka_milvus.encoders.timm_backbone", "sbka_milvus.factory",
    "sbka_milvus.pipelines.ingest", "sbka_milvus.pipelines.matching", "sbka_milvus.pipelines.reference",
    "sbka_milvus.pipelines.versions", "sbka_milvus.rankers", "sbka_milvus.store.milvus",
)  # fmt: skip


def main() -> None:
    """Answers requests until there are no more."""
    points.install(Path(sys.argv[1]), lambda _args: (JOB, STEP))
    for name in _IMPORTED:
        importlib.import_module(name)
    # The atomic files: each is flushed and then takes its place.
    os.fsync = points.around(os.fsync, "fsync")
    Path.replace = points.around(Path.replace, "replace")  # type: ignore[method-assign]
    say(ready=os.getpid())
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(request)
        say(pid=pid)
        _, status = os.waitpid(pid, 0)
        say(code=os.waitstatus_to_exitcode(status))


def run(request: dict[str, Any]) -> None:
    """The program, as the shell starts it; never comes back."""
    code = 70
    try:
        os.environ.update(request["env"])
        null, log = os.open(os.devnull, os.O_RDONLY), os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for given, number in ((null, 0), (log, 1), (log, 2)):
            os.dup2(given, number)
        sys.argv = ["sbka", *request["argv"]]
        from sbka_milvus.cli.app import main as sbka

        sbka()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


say = functools.partial(lambda **values: print(json.dumps(values), flush=True))

if __name__ == "__main__":
    main()

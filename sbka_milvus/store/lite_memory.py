"""How much Milvus Lite keeps in memory before it writes rows out: it reads that once, when it is loaded."""

from __future__ import annotations

import os

VARIABLE = "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES"

LIMIT_BYTES = 16 * 2**20
"""Its own limit is 128 MiB. To count, search or write out what it keeps, it makes a Python object of every number, ten
times its size: 50,000 vectors of 512 numbers took 1.1 GB."""


def limit_memory() -> None:
    """Lowers the limit for this process and its children, unless the environment names one."""
    os.environ.setdefault(VARIABLE, str(LIMIT_BYTES))

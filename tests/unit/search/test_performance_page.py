"""What docs/performance.md tells is what the benchmarks found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_tells_the_results() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "performance_page.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr

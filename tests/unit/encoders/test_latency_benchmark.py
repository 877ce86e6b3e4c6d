"""The benchmark of one sketch's latency: that it compares like with like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from sbka_milvus.types import normalise

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def latency() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import latency

        yield latency
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_ratios_are_those_of_a_turn(latency: ModuleType) -> None:
    found = latency.compared([(10.0, 5.0), (30.0, 10.0), (8.0, 8.0)])
    assert found == {"plain ms": 10.0, "ours ms": 8.0, "times as fast": 2.0, "times as fast, by the shortest": 1.6}
    assert latency.ratio([1.0, 2.0, 9.0], [2.0, 2.0, 3.0]) == 1.0


@pytest.mark.real_data
def test_a_plain_call_gives_the_vectors_of_the_backbone_that_is_served(latency: ModuleType, real_data: Path) -> None:
    backbone, plain = latency.plain_call("timm:mobilenetv2_100", real_data)
    size = backbone.preprocessing.size
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
    scaled = backbone.preprocessing.scale(backbone.preprocessing.stack([picture]))
    ours = backbone.eval()(scaled).detach().numpy()
    assert float((normalise(plain(picture).numpy()) * normalise(ours)).sum()) == pytest.approx(1.0, abs=1e-5)


def test_pictures_that_are_not_there_are_named(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "latency.py"), "--out", str(tmp_path / "out.json")]
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env={"SBKA_REAL_DATA": str(tmp_path)}
    )
    assert (found.returncode, f"There are no sketches in {tmp_path}" in found.stderr) == (1, True), found.stderr

"""A real ``sbka ingest`` of everything bad at once, with decoders that hang and crash among it; then the second try."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from badfiles_corpus import KINDS, MAX_BYTES, MAX_PIXELS, many_scans, noise, write_corpus, write_oddities

from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.shards import read_known
from sbka_milvus.encoders.backbones import BuildRequest
from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.pipelines.import_model import import_model
from sbka_milvus.progress import SilentProgress

ROOT = Path(__file__).parents[2]
PLANTED = {
    "hang.png": "takes longer to decode than the limit of 3 s (SBKA_INGEST__DECODE_SECONDS)",
    "segfault.png": "ended 2 processes that decoded it (SIGSEGV)",
    "hungry.png": "takes more memory to decode than the limit of 512 MiB (SBKA_INGEST__DECODE_MEMORY_MB)",
    "scans.jpg": "takes longer to decode than the limit of 3 s (SBKA_INGEST__DECODE_SECONDS)",
}
LIMITS = {
    "SBKA_INGEST__DECODE_SECONDS": "3",
    "SBKA_INGEST__DECODE_MEMORY_MB": "512",
    "SBKA_INGEST__MAX_PIXELS": str(MAX_PIXELS),
    "SBKA_INGEST__MAX_BYTES": str(MAX_BYTES),
    "SBKA_INGEST__DECODE_PROCESSES": "2",
    "SBKA_WORKER__THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
Sbka = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything bad, and a model with random weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("world")
    write_corpus(root / "photos" / "kinds")
    write_oddities(root / "photos" / "oddities")
    (root / "photos" / "planted").mkdir()
    for name in PLANTED:
        noise().save(root / "photos" / "planted" / name, "PNG")
    (root / "photos" / "planted" / "scans.jpg").write_bytes(many_scans())
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet", num_classes=9).state_dict(), root / "weights")
    request = BuildRequest(BackboneSpec.parse("timm:test_efficientnet"), root / "weights", size=32)
    import_model(request, root / "model", "tiny", SilentProgress())
    return root


@pytest.fixture(scope="module")
def sbka(world: Path) -> Sbka:
    """Runs the program in a process of its own, with faults planted in those that decode."""
    plant = Path(__file__).parent / "plant"

    def run(*arguments: object, **more: str) -> subprocess.CompletedProcess[bytes]:
        path = os.pathsep.join([str(plant), str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "sbka_milvus", *map(str, arguments)],
            env={**os.environ, **LIMITS, "PYTHONPATH": path, "COLUMNS": "400", **more},
            cwd=world,
            capture_output=True,
            timeout=200,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def taken(world: Path, sbka: Sbka) -> dict[str, Any]:
    """The report of the ingest."""
    ran = sbka("ingest", "photos", "--model", "model", "--gallery", "gallery", "--strict", "--json")
    assert ran.returncode == 3, ran.stderr.decode(errors="replace")
    assert b"Traceback" not in ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def gallery(world: Path, taken: dict[str, Any]) -> Gallery:
    return Gallery.open(world / "gallery")


def expected(world: Path, scratch: Path) -> dict[str, str]:
    """By URI what must become of each file."""
    found = {f"{world}/photos/kinds/{kind.name}": kind.expected for kind in KINDS}
    oddities = write_oddities(scratch / "oddities")
    found |= {f"{world}/photos/oddities/{name}": pattern for name, pattern in oddities.items()}
    return found | {f"{world}/photos/planted/{name}": re.escape(reason) for name, reason in PLANTED.items()}


def test_every_file_is_in_the_gallery_or_in_quarantine_for_its_reason(
    world: Path, gallery: Gallery, taken: dict[str, Any], tmp_path: Path
) -> None:
    wanted = expected(world, tmp_path)
    listed = {file.uri: file.reason for file in read_quarantine(gallery.quarantine_file)}
    assert read_known(gallery.shard_folder).keys() == {uri for uri, pattern in wanted.items() if not pattern}
    assert listed.keys() == {uri for uri, pattern in wanted.items() if pattern}
    wrong = {uri: (wanted[uri], reason) for uri, reason in listed.items() if not re.search(wanted[uri], reason)}
    assert wrong == {}
    assert taken["index"]["photos"] == taken["embed"]["embedded"] == len(wanted) - len(listed)
    assert {file["uri"]: file["reason"] for file in taken["embed"]["quarantined"]} == listed


def test_the_report_says_where_the_time_went_and_what_memory_it_took(taken: dict[str, Any]) -> None:
    embed, most = taken["embed"], taken["bottleneck"]
    assert set(embed["stages"]) == {"finding", "reading", "decoding", "waiting", "encoding", "writing", "indexing"}
    assert all(seconds > 0 for seconds in embed["stages"].values())
    # Seconds on the limit of two photos, mostly of waiting for them.
    assert most["stage"] in embed["stages"] and 0 < most["share"] <= 1
    assert embed["photos_per_s"] > 0
    assert 100 < embed["peak_memory_mib"] < 3000


def test_the_list_is_told_counted_and_exported(world: Path, sbka: Sbka, gallery: Gallery, tmp_path: Path) -> None:
    listed = read_quarantine(gallery.quarantine_file)
    told = json.loads(sbka("quarantine", "list", "gallery", "--json").stdout)
    assert told["count"] == len(listed) == sum(told["reasons"].values()) == len(told["files"])
    assert told["reasons"]["is empty (N bytes)"] == 1
    shown = sbka("quarantine", "list", "gallery", "--reason", "decode_seconds").stdout.decode()
    assert "hang.png takes longer" in shown and "scans.jpg takes longer" in shown and "segfault" not in shown
    text = sbka("quarantine", "list", "gallery", "--most", 3).stdout.decode()
    assert f"and {len(listed) - 3} more" in text

    exported = sbka("quarantine", "export", "gallery", tmp_path / "bad.csv")
    assert exported.returncode == 0 and exported.stdout == b""
    data = (tmp_path / "bad.csv").read_bytes()
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    assert [(row["uri"], row["reason"]) for row in rows] == [(file.uri, file.reason) for file in listed]
    assert sbka("quarantine", "export", "gallery", "-").stdout == data
    refused = sbka("quarantine", "export", "gallery", tmp_path / "bad.pdf")
    assert refused.returncode == 1 and b"cannot be exported as .pdf" in refused.stderr


def test_a_second_try_takes_in_what_can_be_used_by_now(world: Path, sbka: Sbka, gallery: Gallery) -> None:
    empty, before = world / "photos" / "kinds" / "empty.jpg", len(read_known(gallery.shard_folder))
    shutil.copyfile(world / "photos" / "kinds" / "plain.jpg", empty)
    ran = sbka("quarantine", "retry", "gallery", "--reason", "0 bytes", "--json")
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    report = json.loads(ran.stdout)
    assert (report["tried"], report["embedded"], report["remaining"]) == (1, 1, [])
    assert report["index"]["photos"] == before + 1
    again = sbka("quarantine", "retry", "gallery", "--reason", "known kind")
    assert again.returncode == 3
    assert b"still cannot be used" in again.stdout
    assert str(empty) not in {file.uri for file in read_quarantine(gallery.quarantine_file)}
    # With a limit that lets it pass, what met it goes in.
    large = sbka("quarantine", "retry", "gallery", "--reason", "5000 x 4100", SBKA_INGEST__MAX_PIXELS="30000000")
    assert large.returncode == 0, large.stderr.decode(errors="replace")
    assert b"1 photos embedded" in large.stdout


def test_an_empty_list_is_no_error(world: Path, sbka: Sbka, gallery: Gallery) -> None:
    nothing = sbka("quarantine", "retry", "gallery", "--reason", "on fire")
    assert nothing.returncode == 0 and b"0 files tried" in nothing.stdout
    assert (
        b"No file is in quarantine for such a reason"
        in sbka("quarantine", "list", "gallery", "--reason", "on fire").stdout
    )
    away = sbka("quarantine", "list", "nowhere")
    assert away.returncode == 1 and b"nowhere" in away.stderr and b"Traceback" not in away.stderr

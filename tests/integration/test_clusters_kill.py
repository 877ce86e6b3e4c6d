"""Killed with kill -9 at every step of a joining ingest or of a clustering, a gallery serves all photos it served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAM = r"""
import json, sys
from pathlib import Path
import numpy as np
from kill_steps import forked, kill_everywhere
from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.pipelines.fits import read_fit
from sbka_milvus.pipelines.index import IndexOptions, build_index
from sbka_milvus.pipelines.matching import matching_finder
from sbka_milvus.pipelines.origin import ClusterOrigin
from sbka_milvus.pipelines.recluster import recluster
from sbka_milvus.pipelines.versions import list_versions
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import normalise

FIRST, MORE, DIM = 12, 3, 4
WHAT, FORM = sys.argv[1], sys.argv[3]
OPTIONS = IndexOptions(n_clusters=2, keep_versions=1, matching=FORM)


def add(gallery, start, count):
    numbers = np.arange(count, dtype=np.int64)
    vectors = normalise(np.random.default_rng(start).normal(size=(count, DIM)))
    uris = tuple(f"/p/{start + number}.jpg" for number in range(count))
    write_shard(gallery.shard_folder, PhotoRecords(uris, ("0",) * count, *[numbers] * 4, vectors), "grid-1")
    return vectors


def build(root):
    gallery = Gallery.create_or_open(root, "grid-1", "cats")
    vectors = add(gallery, 0, FIRST)
    gallery.model_folder.mkdir(parents=True)
    manifest = Manifest(name="none", backbone="none", preprocessing={}, dim=DIM, fingerprint="grid-1",
                        weights_digest="")
    (gallery.model_folder / "manifest.json").write_text(manifest.model_dump_json())
    write_statistics(gallery.model_folder, ModelStatistics(vectors, vectors))
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        build_index(gallery, store, OPTIONS, SilentProgress())
    add(gallery, FIRST, MORE)
    if WHAT == "cluster":
        join(root)


def join(root):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        build_index(gallery, store, OPTIONS, SilentProgress())


def cluster(root):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        recluster(gallery, store, OPTIONS, SilentProgress())


def check(root, at_end):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        served = store.served("cats")
        count = store.count(served)
        assert count in ({FIRST + MORE} if at_end or WHAT == "cluster" else {FIRST, FIRST + MORE}), count
        searcher = GallerySearcher(store, "cats", matching_of=matching_finder(gallery))
        hits = searcher.search(np.eye(DIM, dtype=np.float32)[:1], count, SearchOptions(exact=True))[0]
        assert len(hits) == count and len({hit.uri for hit in hits}) == count
        if not at_end:
            return
        # Killed between the switch and the end of the dropping, the old version goes with the next one that is built.
        states = list_versions(gallery, store)
        assert len(states) <= 2
        (state,) = [state for state in states if state.served]
        assert state.complete
        origin = ClusterOrigin.of(state.record)
        expected = ("joined", FIRST, MORE) if WHAT == "join" else ("fitted", FIRST + MORE, 0)
        assert (origin.how, origin.fitted, origin.joined) == expected, origin
        # A version without its fit could not be joined; a fit without a version takes room for ever.
        assert read_fit(gallery, origin.fit) is not None
        used = {ClusterOrigin.of(state.record).fit for state in states if state.record is not None}
        assert {path.name for path in gallery.fit_folder.iterdir()} == {f"{fit}.npz" for fit in used}
        assert not store.drop_leftovers("cats")


folder, work = Path(sys.argv[2]), {"join": join, "cluster": cluster}[WHAT]
assert forked(build, folder / "start") == 0


def make_good(root, number):
    assert forked(check, root, False) == 0, number
    assert forked(work, root) == 0, number
    assert forked(check, root, True) == 0, number


kills, root = kill_everywhere(folder, work, make_good)
assert forked(check, root, True) == 0
print(json.dumps({"kills": kills}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("what", "form", "least"), [("join", "linear", 14), ("cluster", "fused", 14)])
def test_a_kill_at_any_step_leaves_a_gallery_that_serves(tmp_path: Path, what: str, form: str, least: int) -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, what, str(tmp_path), form]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False, cwd=HERE)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["kills"] >= least

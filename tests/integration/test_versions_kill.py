"""Killed with kill -9 at every step of a build and a switch, a gallery is made good by the next run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAM = r"""
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from kill_steps import forked, kill_everywhere
from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.shards import write_shard
from sbka_milvus.encoders.manifest import Manifest
from sbka_milvus.encoders.statistics import ModelStatistics, write_statistics
from sbka_milvus.pipelines.index import IndexOptions, build_index, build_version
from sbka_milvus.pipelines.matching import matching_finder, read_matching
from sbka_milvus.pipelines.versions import follow_served, list_versions, rollback, serve_version
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import normalise

N = 12
DIMS = {"old": 4, "new": 6}
# The old model knows no sketches; where the new one does, its versions are lifted.
FORMS = {"old": "fused", "new": sys.argv[3]}
OPTIONS = IndexOptions(n_clusters=2, keep_versions=1)


def options_of(gallery):
    return replace(OPTIONS, matching=FORMS[gallery.fingerprint])


def shards(gallery):
    dim = DIMS[gallery.fingerprint]
    numbers = np.arange(N, dtype=np.int64)
    vectors = normalise(np.random.default_rng(dim).normal(size=(N, dim)))
    uris = tuple(f"/p/{number}.jpg" for number in range(N))
    write_shard(gallery.shard_folder, PhotoRecords(uris, uris, numbers, numbers, numbers, numbers, vectors),
                gallery.fingerprint)
    gallery.model_folder.mkdir(parents=True)
    manifest = Manifest(name="none", backbone="none", preprocessing={}, dim=dim, fingerprint=gallery.fingerprint,
                        weights_digest="")
    (gallery.model_folder / "manifest.json").write_text(manifest.model_dump_json())
    if FORMS[gallery.fingerprint] == "linear":
        write_statistics(gallery.model_folder, ModelStatistics(vectors[:5], vectors[5:]))


def build(root):
    gallery = Gallery.create_or_open(root, "old", "cats")
    shards(gallery)
    shards(gallery.for_model("new"))
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        build_index(gallery, store, options_of(gallery), SilentProgress())


def upgrade(root):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        new = gallery.for_model("new")
        info = build_version(new, store, options_of(new), SilentProgress())
        serve_version(gallery, store, info, OPTIONS.keep_versions, place="embedded")


def switch_back(root):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        rollback(gallery, store)


def go_on(root):
    # As an ingest does that finds nothing new.
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        gallery = follow_served(gallery, store)
        assert not build_index(gallery, store, options_of(gallery), SilentProgress()).rebuilt


def check_between(root):
    # Before anybody repairs anything, what is served is whole and of a model that is at hand.
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        served = store.served("cats")
        assert store.count(served) == N, store.count(served)
        assert follow_served(gallery, store).fingerprint == served.fingerprint == Gallery.open(root).fingerprint
        search(gallery, store, served)


def search(gallery, store, served):
    # It can be searched, in the form that it has.
    assert bool(served.matching) is (FORMS[served.fingerprint] == "linear")
    searcher = GallerySearcher(store, "cats", matching_of=matching_finder(gallery))
    query = np.eye(DIMS[served.fingerprint], dtype=np.float32)[:1]
    hits = searcher.search(query, N, SearchOptions(exact=True), fingerprint=served.fingerprint)[0]
    assert len(hits) == N and any(hit.level for hit in hits) is bool(served.matching)


def check_end(root, fingerprints, versions):
    gallery = Gallery.open(root)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        states = list_versions(gallery, store)
        assert {state.info.fingerprint for state in states if state.served} <= fingerprints, states
        assert all(state.complete for state in states), states
        assert len(states) == versions, states
        assert gallery.fingerprint == store.served("cats").fingerprint
        tokens = {path.stem for path in gallery.version_folder.iterdir() if path.suffix == ".json"}
        assert {state.info.token for state in states} <= tokens
        lifted = {path.stem for path in gallery.version_folder.iterdir() if path.suffix == ".npz"}
        assert lifted == {state.info.token for state in states if state.info.matching}, lifted
        for state in states:
            assert (read_matching(gallery, state.info) is not None) is bool(state.info.matching)
        search(gallery, store, store.served("cats"))
        served = next(state for state in states if state.served)
        assert served.record.promoted and not served.record.rolled_back
        record = json.loads(gallery.index_file.read_text())
        assert (record["token"], record["photos"]) == (served.info.token, N), record
        assert not store.drop_leftovers("cats")


name, folder = sys.argv[1], Path(sys.argv[2])
work = {"upgrade": upgrade, "rollback": switch_back}[name]
assert forked(build, folder / "start") == 0
if name == "rollback":
    OPTIONS = IndexOptions(n_clusters=2, keep_versions=2)
    assert forked(upgrade, folder / "start") == 0


def make_good(root, number):
    assert forked(check_between, root) == 0, number
    if name == "upgrade":
        assert forked(upgrade, root) == 0, number
        assert forked(check_end, root, {"new"}, 1) == 0, number
    else:
        assert forked(go_on, root) == 0, number
        assert forked(check_end, root, {"new", "old"}, 2) == 0, number


kills, root = kill_everywhere(folder, work, make_good)
assert forked(check_end, root, {"new"} if name == "upgrade" else {"old"}, 1 if name == "upgrade" else 2) == 0
print(json.dumps({"kills": kills}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("what", "form", "least"), [("upgrade", "fused", 12), ("upgrade", "linear", 14), ("rollback", "linear", 8)]
)
def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, what: str, form: str, least: int) -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, what, str(tmp_path), form]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False, cwd=HERE)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["kills"] >= least

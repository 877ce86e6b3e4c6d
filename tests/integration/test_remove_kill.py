"""Killed with kill -9 at any step of a removal or a pruning ingest, a gallery is made good by the next run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAM = r"""
import json, os, shutil, sys, traceback
from pathlib import Path
import numpy as np
from kill_steps import STEPS, hook
from PIL import Image
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings import removal, shards
from sbka_milvus.embeddings.copies import copies_file
from sbka_milvus.embeddings.shards import read_embeddings, read_known, read_records
from sbka_milvus.pipelines import index, remove as removing
from sbka_milvus.pipelines.copies import copies_finder
from sbka_milvus.pipelines.embed_options import EmbedOptions
from sbka_milvus.pipelines.index import IndexOptions
from sbka_milvus.pipelines.ingest import IngestOptions, ingest_photos
from sbka_milvus.pipelines.prune import PruneOptions
from sbka_milvus.progress import SilentProgress
from sbka_milvus.search import GallerySearcher, SearchOptions
from sbka_milvus.store import MilvusGalleryStore
from sbka_milvus.types import normalise

OPTIONS = IndexOptions(n_clusters=2, keep_versions=1)
EMBED = EmbedOptions(batch_size=4, decode_size=16, decode_processes=1)


class Encoder:
    dim, fingerprint = 48, "grid-1"

    def encode_photos(self, photos):
        cells = [np.asarray(photo.resize((4, 4), Image.Resampling.BOX), dtype=np.float64) for photo in photos]
        return normalise(np.stack(cells).reshape(len(photos), -1) + 1)

    encode_sketches = encode_photos


def ingest(root, pruning=None):
    gallery = Gallery.open(root / "gallery")
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        options = IngestOptions(EMBED, OPTIONS, pruning)
        return ingest_photos([root / "photos"], gallery, Encoder(), store, options, SilentProgress())


def prepare(root):
    (root / "photos").mkdir(parents=True)
    for number in range(12):
        cells = np.random.default_rng(number // 2).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        # In pairs of equal ones.
        Image.fromarray(cells).resize((16, 16), Image.Resampling.NEAREST).save(root / "photos" / f"{number:02d}.png")
    Gallery.create_or_open(root / "gallery", "grid-1", "cats")
    ingest(root)


def remove(root):
    gallery = Gallery.open(root / "gallery")
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        found = removing.find_removal(gallery, [root / "photos" / f"0{number}.png" for number in (0, 2, 3)])
        removing.remove_from_gallery(gallery, store, found, OPTIONS, SilentProgress())


def move_and_prune(root):
    for number in (0, 2, 3):
        (root / "photos" / f"0{number}.png").unlink(missing_ok=True)
    if (root / "photos" / "04.png").exists():
        (root / "photos" / "04.png").rename(root / "photos" / "moved.png")
    assert ingest(root, PruneOptions()).embed.embedded == 0


def look(root):
    gallery = Gallery.open(root / "gallery")
    known = read_known(gallery.shard_folder)
    embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    assert set(embeddings.uris) == set(known)
    with MilvusGalleryStore(str(gallery.milvus_folder)) as store:
        info = store.served("cats")
        searcher = GallerySearcher(store, "cats", copies_of=copies_finder(gallery))
        (result,) = searcher.search(embeddings.vectors[:1], 50, SearchOptions(None, 0.0, exact=True))
        shown = [[hit.uri, *hit.duplicates] for hit in result]
        tokens = sorted(one.token for one in store.versions("cats"))
        return {
            "known": sorted(Path(uri).name for uri in known),
            "served": sorted(Path(uri).name for rows in store.scan(info) for uri in rows.embeddings.uris),
            "shown": sorted(sorted(Path(uri).name for uri in uris) for uris in shown),
            "tokens": tokens,
            "files": sorted({path.stem for path in gallery.version_folder.iterdir() if path.suffix != ".lock"}),
        }


def in_child(work, *args, kill=None):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        STEPS.kill_at = kill
        try:
            if kill is not None:
                hook(((removing, "remove_photos"), (removal, "write_shard"), (shards.pq, "write_table"),
                      (index, "read_embeddings"), (index, "write_copies"), (index, "write_version_record"),
                      (index, "_insert"), (index, "serve_version")))
            content = json.dumps([work(*args), STEPS.trail])
        except BaseException:
            content = json.dumps(["error", traceback.format_exc()])
        os.write(write, content.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    return json.loads(content) if content else ["killed", os.WTERMSIG(status)]


base, work = Path(sys.argv[1]), {"remove": remove, "prune": move_and_prune}[sys.argv[2]]
found = in_child(prepare, base / "start")
assert found[0] is None, found[1]
shutil.copytree(base / "start", base / "whole")


def at(name):
    # Files are known by their paths, so each round is done at the same place.
    place = base / "start"
    shutil.rmtree(place)
    shutil.copytree(base / "whole", place)
    return place


names = in_child(work, at("dry"), kill=10**9)
assert names[0] is None, names[1]
results = []
# The state after one step is that before the next one.
for number in range(0, len(names[1]), 2):
    place = at(number)
    killed = in_child(work, place, kill=number)
    between = in_child(look, place)
    again = in_child(work, place)
    results.append({"step": names[1][number], "killed": killed, "between": between[0], "again": again,
                    "after": in_child(look, place)})
print(json.dumps(results))
"""

ALL = [f"{number:02d}.png" for number in range(12)]
PAIRS = [[f"{number:02d}.png", f"{number + 1:02d}.png"] for number in range(0, 12, 2)]


@pytest.mark.parametrize("work", ["remove", "prune"])
def test_every_kill_is_made_good(tmp_path: Path, work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), work], capture_output=True, text=True, check=False, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    left = sorted(set(ALL) - {"00.png", "02.png", "03.png"})
    shown = [["01.png"], *PAIRS[2:]]
    if work == "prune":
        left = sorted({*left, "moved.png"} - {"04.png"})
        shown = sorted([["01.png"], ["05.png", "moved.png"], *PAIRS[3:]])
    assert len(results) >= 7
    for result in results:
        step = result["step"]
        assert result["killed"] == ["killed", 9], step
        # Served is what was served before, or what is to be; and what is known is one or the other, whole.
        assert result["between"]["served"] in (ALL, left), step
        between = set(result["between"]["known"])
        assert between >= {"01.png", *ALL[5:]}, step
        assert not ({"04.png", "moved.png"} <= between), step
        assert {"04.png", "moved.png"} & between, step
        assert len({"00.png", "02.png", "03.png"} & between) in (0, 3), step
        assert result["again"][0] is None, (step, result["again"])
        after = result["after"][0]
        assert (after["known"], after["served"], after["shown"]) == (left, left, shown), step
        assert after["files"] == after["tokens"], step

"""What is taken out of shards is gone for every reader, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbka_milvus.embeddings import Gallery, PhotoRecords
from sbka_milvus.embeddings.removal import remove_photos, removed_photos
from sbka_milvus.embeddings.shards import (
    list_shards,
    read_embeddings,
    read_known,
    read_metadata,
    read_records,
    write_shard,
)
from sbka_milvus.errors import GalleryError, InvalidValue
from sbka_milvus.types import normalise

ODD = ("/p/ünïcödé 猫.jpg", os.fsdecode(b"/p/caf\xe9.jpg"), "/p/a.zip!/new%0Aline.jpg", "https://example.org/a b.jpg")


def photos(uris: list[str], stamp: int = 0, said: bool = False) -> PhotoRecords:
    """Each of another size and vector, which tell of the stamp."""
    n = len(uris)
    numbers = np.arange(n, dtype=np.int64) + 1000 * stamp
    angles = numbers.astype(np.float64)
    return PhotoRecords(
        tuple(uris),
        tuple(f"{number:032x}" for number in numbers.tolist()),
        numbers,
        numbers,
        numbers,
        numbers,
        normalise(np.stack([np.cos(angles), np.sin(angles)], axis=1)),
        tuple({"stamp": stamp} for _ in uris) if said else (),
    )


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create_or_open(tmp_path / "gallery", "model-1")


def newest(gallery: Gallery) -> dict[str, int]:
    """The size of every photo, as all four readers see it."""
    folder = gallery.shard_folder
    known = {uri: size for uri, (size, _) in read_known(folder).items()}
    records = {
        uri: size
        for part in read_records(folder, gallery.fingerprint)
        for uri, size in zip(part.uris, part.sizes.tolist(), strict=True)
    }
    embeddings = read_embeddings(folder, gallery.fingerprint)
    assert records == known
    assert (set() if embeddings is None else set(embeddings.uris)) == known.keys()
    assert read_metadata(folder).keys() <= known.keys()
    return known


class TestRemoval:
    def test_a_photo_is_gone_for_every_reader(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"], said=True), "model-1")
        write_shard(gallery.shard_folder, photos(["/p/b", "/p/c"], stamp=1, said=True), "model-1")
        assert remove_photos(gallery, ["/p/b", "/p/none"]) == ["/p/b"]
        assert newest(gallery) == {"/p/a": 0, "/p/c": 1001}
        assert read_metadata(gallery.shard_folder) == {"/p/a": {"stamp": 0}, "/p/c": {"stamp": 1}}
        assert removed_photos(gallery.shard_folder, read_known(gallery.shard_folder)) == {"/p/b"}

    def test_what_comes_again_counts(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"], said=True), "model-1")
        remove_photos(gallery, ["/p/a"])
        write_shard(gallery.shard_folder, photos(["/p/a"], stamp=2), "model-1")
        assert newest(gallery) == {"/p/a": 2000, "/p/b": 1}
        assert read_metadata(gallery.shard_folder) == {"/p/b": {"stamp": 0}}
        assert removed_photos(gallery.shard_folder, read_known(gallery.shard_folder)) == set()

    def test_a_shard_may_hold_photos_and_take_others_out(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/old", "/p/same"]), "model-1")
        write_shard(
            gallery.shard_folder, photos(["/p/new", "/p/same"], stamp=3), "model-1", removed=["/p/old", "/p/same"]
        )
        assert newest(gallery) == {"/p/new": 3000, "/p/same": 3001}

    def test_a_shard_that_is_written_again_in_its_place_does_not_come_back(self, gallery):
        """A worker that does its chunk twice replaces a shard that lies before the removal."""
        path = write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1")
        remove_photos(gallery, ["/p/a"])
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1", path.name)
        assert newest(gallery) == {"/p/b": 1}

    def test_nothing_is_left_where_all_are_taken_out(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1")
        remove_photos(gallery, ["/p/a", "/p/b"])
        assert newest(gallery) == {}
        assert read_embeddings(gallery.shard_folder, "model-1") is None

    def test_names_of_all_kinds_are_taken_out(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/stays", *ODD]), "model-1")
        assert remove_photos(gallery, ODD) == sorted(ODD)
        assert newest(gallery) == {"/p/stays": 0}

    def test_to_remove_twice_writes_nothing_more(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1")
        remove_photos(gallery, ["/p/a"])
        shards = list_shards(gallery.shard_folder)
        assert remove_photos(gallery, ["/p/a"]) == []
        assert list_shards(gallery.shard_folder) == shards

    def test_shards_of_every_model_are_cleared(self, gallery):
        other = gallery.for_model("model-2")
        for one in (gallery, other):
            write_shard(one.shard_folder, photos(["/p/a", "/p/b"]), one.fingerprint)
        remove_photos(gallery, ["/p/a"])
        assert newest(other) == newest(gallery) == {"/p/b": 1}

    def test_an_empty_shard_is_refused(self, gallery):
        with pytest.raises(InvalidValue, match="holds no photo"):
            write_shard(gallery.shard_folder, None, "model-1")

    def test_a_damaged_removal_is_not_passed_over(self, gallery):
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1")
        remove_photos(gallery, ["/p/a"])
        last = list_shards(gallery.shard_folder)[-1]
        last.write_bytes(last.read_bytes()[:-20])
        for read in (read_known, read_metadata, lambda folder: list(read_records(folder, "model-1"))):
            with pytest.raises(GalleryError, match=last.name):
                read(gallery.shard_folder)

    def test_shards_without_removals_stay_of_the_first_format(self, gallery):
        """An earlier release reads on; one with removals it refuses instead of bringing photos back."""
        write_shard(gallery.shard_folder, photos(["/p/a", "/p/b"]), "model-1")
        remove_photos(gallery, ["/p/a"])
        formats = [pq.read_schema(path).metadata[b"sbka.format"] for path in list_shards(gallery.shard_folder)]
        assert formats == [b"1", b"2"]


STEPS = st.lists(
    st.tuples(st.booleans(), st.lists(st.sampled_from(["/p/a", "/p/b", "/p/c", *ODD]), min_size=1, unique=True)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_readers_agree_with_a_plain_dictionary(steps, tmp_path_factory):
    gallery = Gallery.create_or_open(tmp_path_factory.mktemp("once") / "gallery", "model-1")
    expected: dict[str, int] = {}
    for stamp, (adds, uris) in enumerate(steps):
        if adds:
            write_shard(gallery.shard_folder, photos(uris, stamp, said=stamp % 2 == 0), "model-1")
            expected |= {uri: 1000 * stamp + row for row, uri in enumerate(uris)}
        else:
            assert set(remove_photos(gallery, uris)) == expected.keys() & set(uris)
            expected = {uri: size for uri, size in expected.items() if uri not in uris}
        assert newest(gallery) == expected


KILLED = """
import os, signal, sys
from pathlib import Path
import sbka_milvus.files as files
from sbka_milvus.embeddings import Gallery
from sbka_milvus.embeddings.removal import remove_photos

at, seen = int(sys.argv[2]), 0

def kill(name):
    global seen
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)
    seen += 1

for owner, name in ((files.Path, "open"), (files.os, "fsync"), (files.Path, "replace"), (files, "_sync_folder")):
    def hook(*args, inner=getattr(owner, name), name=name, **kwargs):
        kill(name)
        result = inner(*args, **kwargs)
        kill(name)
        return result
    setattr(owner, name, hook)
remove_photos(Gallery.open(Path(sys.argv[1])), ["/p/a", "/p/b"])
"""


@pytest.mark.parametrize("step", range(0, 22, 3))
def test_killed_at_any_step_a_removal_is_done_or_not_and_the_next_one_ends_right(gallery, step):
    other = gallery.for_model("model-2")
    for one in (gallery, other):
        write_shard(one.shard_folder, photos(["/p/a", "/p/b", "/p/c"]), one.fingerprint)
    done = subprocess.run([sys.executable, "-c", KILLED, str(gallery.root), str(step)], check=False)
    assert done.returncode == -signal.SIGKILL
    whole, after = {"/p/a": 0, "/p/b": 1, "/p/c": 2}, {"/p/c": 2}
    assert newest(gallery) in (whole, after)
    assert newest(other) in (whole, after)
    # What the gallery's own model holds no more, no other model holds: else nobody would ever come back to it.
    assert newest(gallery) == whole or newest(other) == after
    remove_photos(gallery, ["/p/a", "/p/b"])
    assert newest(gallery) == newest(other) == after

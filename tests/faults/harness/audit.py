"""The audit after a job: every image in the gallery exactly once, or in quarantine with a reason; all counts agree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from harness.injection import Ledger
from sbka_milvus.embeddings import Gallery, read_quarantine
from sbka_milvus.embeddings.index_record import read_index_record
from sbka_milvus.embeddings.shards import list_shards, read_embeddings, read_records
from sbka_milvus.embeddings.versions import read_version_record
from sbka_milvus.encoders.bundle import load_bundle
from sbka_milvus.images.source import content_hash
from sbka_milvus.pipelines.matching import read_matching
from sbka_milvus.rankers import ServedMatching
from sbka_milvus.store import MilvusGalleryStore


def audit_gallery(root: Path, photos: Path, bad: set[Path], uri: str, ledger: Ledger) -> int:
    """Compares a folder of photos with what is served of it, over a connection of its own.

    Args:
        root: of the gallery.
        photos: what was taken into it.
        bad: files that must be in quarantine.
        uri: of Milvus.
        ledger: is told what is lost or doubled.

    Returns:
        The photos in the gallery.
    """
    gallery = Gallery.open(root)
    files = {str(path) for path in photos.rglob("*") if path.is_file()}
    with MilvusGalleryStore(uri) as store:
        served = store.served(gallery.name)
        rows = list(store.scan(served))
        found = Counter(name for part in rows for name in part.embeddings.uris)
        count = store.count(served)
        versions = store.versions(gallery.name)
        assert store.clusters(served).sizes.sum() == count, "clusters that hold other photos than they say"

    listed = {file.uri: file.reason for file in read_quarantine(gallery.quarantine_file)}
    lost = files - found.keys() - listed.keys()
    doubled = [name for name, times in found.items() if times > 1] + sorted(found.keys() & listed.keys())
    ledger.lost += len(lost)
    ledger.doubled += len(doubled)
    ledger.jobs += 1
    assert not lost and not doubled, (lost, doubled)
    assert found.keys() <= files, "photos that are not in the folder"
    assert listed.keys() == {str(path) for path in bad}, "a sound photo is in quarantine, or a bad one is not"
    assert all(listed.values()), "a file in quarantine without a reason"

    # All records agree with what is served, and it was made of whole shards of one model.
    assert gallery.fingerprint == served.fingerprint
    record = read_version_record(gallery.version_folder, served.token)
    known = read_index_record(gallery.index_file)
    assert record is not None and record.promoted is not None
    assert known is not None and (known.token, known.version) == (served.token, served.version)
    assert record.photos == known.photos == count == len(found)
    assert len(versions) <= 3, "versions pile up"
    hashes = {
        name: known
        for part in read_records(gallery.shard_folder, gallery.fingerprint)
        for name, known in zip(part.uris, part.content_hashes, strict=True)
    }
    stale = [name for name in found if hashes[name] != content_hash(Path(name).read_bytes())]
    assert not stale, f"embedded from other pixels than the file has: {stale}"
    embeddings = read_embeddings(gallery.shard_folder, gallery.fingerprint)
    assert embeddings is not None and set(embeddings.uris) == found.keys()
    matching = read_matching(gallery, served)
    assert matching is None or isinstance(matching, ServedMatching)
    # Where a version's vectors were lifted, it is by its own file and of its shards.
    made = embeddings.vectors if matching is None else matching.lifted.photos(embeddings.vectors).rows
    vectors = dict(zip(embeddings.uris, made, strict=True))
    for part in rows:
        expected = np.stack([vectors[name] for name in part.embeddings.uris])
        assert np.allclose(part.embeddings.vectors, expected, atol=1e-5), "a vector that is not its shard's"
    for folder in (gallery.root / "shards").iterdir():
        assert sum(len(part) for part in read_records(folder, folder.name)) > 0 or not list_shards(folder)
    for bundle in (gallery.root / "models").iterdir():
        if not bundle.name.startswith("."):
            assert load_bundle(bundle).fingerprint == bundle.name
    return count

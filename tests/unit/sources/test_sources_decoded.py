"""Photos of every kind of source go through the processes that decode; archives are not read more often for that."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from sbka_milvus.errors import ImageError
from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile, content_hash, load_photo, source_photos

LIMITS = DecodeLimits(seconds=20.0, target=8, max_bytes=10_000)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(LIMITS, 2) as pool:
        yield pool


@pytest.fixture
def decode(decoders: Decoders) -> Callable[..., list[Any]]:
    """Decodes the photos of sources by several threads; gives each one's picture, or why there is none."""

    def one(file: PhotoFile) -> Any:
        try:
            return decoders.decode(file)
        except ImageError as error:
            return error.problem

    def run(*sources: str | Path) -> list[Any]:
        with ThreadPoolExecutor(4) as threads:
            return list(threads.map(one, source_photos([str(source) for source in sources])))

    return run


def same(photo: Any, data: bytes) -> bool:
    assert photo.content_hash == content_hash(data)
    return bool(np.array_equal(np.asarray(photo.image), np.asarray(load_photo(data, target_size=8))))


def test_members_of_archives(decode: Any, make_tar: Any, make_zip: Any, jpeg: Any, tmp_path: Path) -> None:
    members = {f"{n:02}.jpg": jpeg(n) for n in range(12)}
    sources = [
        make_tar(tmp_path / "a.tar", members),
        make_tar(tmp_path / "b.tar.gz", members, "w:gz"),
        make_tar(tmp_path / "c.tar.xz", members, "w:xz"),
        make_zip(tmp_path / "d.zip", members),
    ]
    photos = decode(*sources)
    assert len(photos) == 48
    assert all(same(photo, data) for photo, data in zip(photos, [*members.values()] * 4, strict=True))


def test_photos_and_archives_at_addresses(
    decode: Any, server: Any, make_tar: Any, make_zip: Any, jpeg: Any, tmp_path: Path
) -> None:
    server.ranges = True
    members = {f"{n}.jpg": jpeg(n) for n in range(6)}
    server.files = {
        "/one.jpg": jpeg(50),
        "/a.tar": make_tar(tmp_path / "a.tar", members).read_bytes(),
        "/b.zip": make_zip(tmp_path / "b.zip", members).read_bytes(),
    }
    photos = decode(*(f"{server.url}{path}" for path in server.files))
    wanted = [jpeg(50), *members.values(), *members.values()]
    assert all(same(photo, data) for photo, data in zip(photos, wanted, strict=True))


def test_a_stream_is_read_once_to_list_it_and_once_for_its_photos(
    decode: Any, server: Any, make_tar: Any, jpeg: Any, tmp_path: Path
) -> None:
    members = {f"{n}.jpg": jpeg(n) for n in range(30)}
    server.files["/a.tar.gz"] = make_tar(tmp_path / "a.tar.gz", members, "w:gz").read_bytes()
    assert len(decode(f"{server.url}/a.tar.gz")) == 30
    assert server.asked.count(("GET", "/a.tar.gz")) == 2


def test_objects_of_a_store_that_only_this_process_knows(decode: Any, jpeg: Any) -> None:
    objects = fsspec.filesystem("memory")
    objects.store.clear()
    objects.pipe("/bucket/1.jpg", jpeg(1))
    (photo,) = decode("memory://bucket/1.jpg")
    assert same(photo, jpeg(1))


def test_the_limit_of_bytes_holds_everywhere(
    decode: Any, server: Any, make_zip: Any, jpeg: Any, tmp_path: Path
) -> None:
    large = jpeg(1) + bytes(20_000)
    server.files["/large.jpg"] = large
    (tmp_path / "large.jpg").write_bytes(large)
    archive = make_zip(tmp_path / "a.zip", {"large.jpg": large})
    for source in (f"{server.url}/large.jpg", tmp_path / "large.jpg", archive):
        (why,) = decode(source)
        assert "large.jpg has" in why and "more than the limit of 10,000 (SBKA_INGEST__MAX_BYTES)" in why


def test_what_is_wrong_with_a_source_is_said_of_the_photo(
    decode: Any, server: Any, make_tar: Any, jpeg: Any, tmp_path: Path
) -> None:
    tar = make_tar(tmp_path / "a.tar", {"1.jpg": jpeg(1), "2.jpg": b"no picture"})
    (good, bad) = decode(tar)
    assert same(good, jpeg(1)) and bad.startswith(f"{tar}!/2.jpg is not an image")
    server.files["/gone.jpg"] = jpeg(1)
    files = list(source_photos([f"{server.url}/gone.jpg"]))
    del server.files["/gone.jpg"]
    with Decoders(LIMITS, 1) as pool:
        with pytest.raises(ImageError, match=r"gone\.jpg does not exist"):
            pool.decode(files[0])
        # No process was needed to learn that.
        assert pool.use.started == 0


def test_waiting_for_an_address_is_not_decoding(server: Any) -> None:
    """A slow server has patience of its own; the time limit is for what comes after."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    # Twenty bytes a second.
    server.files["/slow.png"], server.bad["/slow.png"] = buffer.getvalue(), "slow"
    file = PhotoFile(f"{server.url}/slow.png", Path("slow.png"), 1, 1)
    with Decoders(replace(LIMITS, seconds=2.0), 1) as pool:
        assert same(pool.decode(file), buffer.getvalue())
        assert pool.use.reading_s > 3.0 > pool.use.decoding_s


def test_an_archive_that_is_replaced_meanwhile_is_noticed(
    decode: Any, make_zip: Any, jpeg: Any, tmp_path: Path
) -> None:
    archive = make_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
    files = list(source_photos([archive]))
    make_zip(archive, {"2.jpg": jpeg(2)})
    with Decoders(LIMITS, 1) as pool:
        with pytest.raises(ImageError, match="is not in the archive any more"):
            pool.decode(files[0])
        assert same(pool.decode(files[1]), jpeg(2))

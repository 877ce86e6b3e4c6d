"""Archives: what is taken from them, and everything that is not, with its reason."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbka_milvus.errors import ImageError, SourceError
from sbka_milvus.images import content_hash, load_photo_file, read_photo, source_photos
from sbka_milvus.images.sources import contents as limits
from sbka_milvus.images.sources.read import open_archives

MODES = {"a.tar": "w", "a.tar.gz": "w:gz", "a.tgz": "w:gz", "a.tar.bz2": "w:bz2", "a.txz": "w:xz"}
ALL = [*MODES, "a.zip"]


@pytest.fixture
def pack(tmp_path: Path, make_tar: Any, make_zip: Any) -> Any:
    """Packs contents by name into an archive of a name."""

    def packed(name: str, members: Any) -> Path:
        path = tmp_path / name
        return make_zip(path, members) if name.endswith(".zip") else make_tar(path, members, MODES[name])

    return packed


@pytest.mark.parametrize("name", ALL)
def test_photos_come_out_as_they_went_in(name: str, pack: Any, find: Any, jpeg: Any, tmp_path: Path) -> None:
    members = {f"cats/{n}.jpg": jpeg(n) for n in range(30)} | {"./dogs/ü 100%#1.PNG": jpeg(99), "notes.txt": b"-"}
    found = find(pack(name, members))
    assert found.problems == {}
    assert found.names == [f"{name}!/cats/{n}.jpg" for n in range(30)] + [f"{name}!/dogs/ü 100%25%231.PNG"]
    for photo, data in zip(found.photos.values(), members.values(), strict=False):
        assert read_photo(photo.uri) == data
        decoded = load_photo_file(photo)
        assert (decoded.content_hash, decoded.width, photo.size) == (content_hash(data), 24, len(data))
    # In any order, by many threads at once.
    shuffled = random.Random(0).sample(list(found.photos.values()), 31)
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(lambda photo: content_hash(read_photo(photo.uri)), shuffled))
    assert hashes == [load_photo_file(photo).content_hash for photo in shuffled]


@pytest.mark.parametrize("name", ALL)
def test_a_second_look_finds_the_same_and_a_changed_member_only(name: str, pack: Any, find: Any, jpeg: Any) -> None:
    members = {f"{n}.jpg": jpeg(n) for n in range(4)}
    before = find(pack(name, members)).photos
    assert find(pack(name, members)).photos == before
    # Another picture of the same size and time.
    changed = bytearray(members["2.jpg"])
    changed[-10] ^= 1
    os.utime(pack(name, members | {"2.jpg": bytes(changed)}), ns=(1, 2))
    after = find(pack(name, members | {"2.jpg": bytes(changed)})).photos
    assert [key for key in before if before[key] != after[key]] == [f"{name}!/2.jpg"]
    assert read_photo(after[f"{name}!/2.jpg"].uri) == bytes(changed)


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_what_stands_beside_a_picture_is_its_metadata(name: str, pack: Any, find: Any, jpeg: Any) -> None:
    members = {
        "s/0001.json": json.dumps({"year": 2020, "place": "Rome"}).encode(),
        "s/0001.jpg": jpeg(1),
        "s/0002.jpg": jpeg(2),
        "s/0002.txt": b"a cat",
        "s/0002.cls": b"7",
        "s/0003.jpg": jpeg(3),
        "s/0004.jpg": jpeg(4),
        "s/0004.json": b"[broken",
        "t/0003.json": b'{"year": 1}',
    }
    found = find(pack(name, members))
    assert found.metadata == {
        f"{name}!/s/0001.jpg": {"year": 2020, "place": "Rome"},
        f"{name}!/s/0002.jpg": {"text": "a cat", "cls": 7},
        f"{name}!/s/0003.jpg": None,
    }
    assert "beside it cannot be read" in found.problems[f"{name}!/s/0004.jpg"]


@pytest.mark.parametrize("name", ALL)
def test_hostile_names_are_told_and_the_rest_is_taken(name: str, pack: Any, find: Any, jpeg: Any) -> None:
    odd = ["../up.jpg", "a/../../up.jpg", "/etc/abs.jpg", "a//b.jpg", "a/./b.jpg", "inner.zip", "x/inner.tar.gz"]
    found = find(pack(name, {one: jpeg(1) for one in [*odd, "good.jpg", ".hidden.jpg", "__MACOSX/._good.jpg"]}))
    assert found.names == [f"{name}!/good.jpg"]
    assert list(found.problems) == [f"{name}!/{one}" for one in odd]
    assert "archive within an archive" in found.problems[f"{name}!/inner.zip"]
    assert "absolute" in found.problems[f"{name}!//etc/abs.jpg"]
    assert not Path("/etc/abs.jpg").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_of_several_members_of_one_name_the_last_counts(name: str, tmp_path: Path, find: Any, jpeg: Any) -> None:
    path = tmp_path / name
    if name == "a.zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for n in range(3):
                zipped.writestr("x.jpg", jpeg(n))
    else:
        with tarfile.open(path, MODES[name]) as tar:
            for n in range(3):
                header = tarfile.TarInfo("x.jpg")
                header.size = len(jpeg(n))
                tar.addfile(header, io.BytesIO(jpeg(n)))
    found = find(path)
    assert found.names == [f"{name}!/x.jpg"]
    assert read_photo(found.photos[f"{name}!/x.jpg"].uri) == jpeg(2)
    assert list(found.problems) == [f"{name}!/x.jpg#1", f"{name}!/x.jpg#2"]


@pytest.mark.parametrize("name", MODES)
def test_links_devices_and_pipes_in_tars_are_told(name: str, pack: Any, find: Any, jpeg: Any) -> None:
    members: dict[str, Any] = {"good.jpg": jpeg(1)}
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        header = tarfile.TarInfo(f"{kind.decode()}.jpg")
        header.type, header.linkname = kind, "good.jpg"
        members[header.name] = header
    found = find(pack(name, members))
    assert found.names == [f"{name}!/good.jpg"]
    assert [("link" in why, "device" in why) for why in found.problems.values()] == [
        (True, False), (True, False), (False, True), (False, True),
    ]  # fmt: skip


def test_links_encrypted_and_oddly_packed_members_of_zips_are_told(tmp_path: Path, find: Any, jpeg: Any) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "/etc/passwd")
        for name in ("secret.jpg", "odd.jpg", "good.jpg"):
            zipped.writestr(name, jpeg(1))
    data = bytearray(path.read_bytes())
    for name, offset, value in ((b"secret.jpg", 8, 1), (b"odd.jpg", 10, 97)):
        place = data.rindex(name) - 46  # of its entry in the list at the end
        assert data[place : place + 4] == b"PK\x01\x02"
        struct.pack_into("<H", data, place + offset, value)
    path.write_bytes(data)
    found = find(path)
    assert found.names == ["a.zip!/good.jpg"]
    words = {"link.jpg": "link", "secret.jpg": "encrypted", "odd.jpg": "97"}
    assert {name for name, word in words.items() if word in found.problems[f"a.zip!/{name}"]} == set(words)


def test_bombs_are_refused_before_they_are_unpacked(
    tmp_path: Path, find: Any, jpeg: Any, make_zip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = bytes(limits.RATIO_FROM + 1)
    found = find(make_zip(tmp_path / "a.zip", {"bomb.bmp": big, "good.jpg": jpeg(1)}))
    assert found.names == ["a.zip!/good.jpg"]
    assert "200 times" in found.problems["a.zip!/bomb.bmp"]


@pytest.mark.parametrize(("name", "mode"), [("a.tgz", "w:gz"), ("a.txz", "w:xz")])
def test_a_stream_that_unpacks_to_absurdly_much_is_left(
    name: str, mode: str, tmp_path: Path, find: Any, jpeg: Any
) -> None:
    with tarfile.open(tmp_path / name, mode, **({"preset": 0} if mode == "w:xz" else {"compresslevel": 1})) as tar:
        for member, size in (("good.jpg", len(jpeg(1))), ("zeros.dat", 100 * 2**20), ("later.jpg", len(jpeg(2)))):
            header = tarfile.TarInfo(member)
            header.size = size
            tar.addfile(header, io.BytesIO(jpeg(1) if member == "good.jpg" else bytes(size)))
    found = find(tmp_path / name)
    assert found.names == [f"{name}!/good.jpg"]
    assert "more than 200 times its size" in found.problems[name]
    assert read_photo(f"{tmp_path}/{name}!/good.jpg") == jpeg(1)


@pytest.mark.parametrize("name", ALL)
def test_an_archive_cut_anywhere_gives_what_is_whole_and_tells_the_rest(
    name: str, pack: Any, find: Any, jpeg: Any, tmp_path: Path
) -> None:
    members = {f"{n}.jpg": jpeg(n) for n in range(6)}
    whole = pack(name, members).read_bytes()
    sound = {content_hash(data) for data in members.values()}
    partly = 0
    for place in sorted({0, 1, 100, 511, 512, 600, *random.Random(1).sample(range(len(whole)), 25), len(whole) - 1}):
        # Newer than the one before, as a file that is written is.
        (tmp_path / name).write_bytes(whole[:place])
        os.utime(tmp_path / name, ns=(place, place))
        found = find(tmp_path / name)
        # Nothing is missing where only the padding behind the end mark is.
        assert found.problems or (name == "a.tar" and len(found.photos) == 6), place
        assert {content_hash(read_photo(photo.uri)) for photo in found.photos.values()} <= sound
        partly += 0 < len(found.photos) < 6
    assert partly > 3 or name.endswith((".zip", "z2", "xz", "gz"))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_mangled_archives_neither_crash_nor_hang(
    data: Any, tmp_path_factory: Any, jpeg: Any, make_tar: Any, make_zip: Any
) -> None:
    folder = tmp_path_factory.mktemp("mangled")
    name = data.draw(st.sampled_from(["a.tar", "a.tgz", "a.zip"]))
    members = {f"{n}.jpg": jpeg(n) for n in range(3)}
    path = make_zip(folder / name, members) if name == "a.zip" else make_tar(folder / name, members, MODES[name])
    content = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=20)
    ):
        content[place] = value
    path.write_bytes(content)
    problems: list[str] = []
    for photo in source_photos(path, lambda uri, why: problems.append(why)):
        try:
            assert len(read_photo(photo.uri)) == photo.size
        except ImageError as error:
            assert error.problem


def test_a_member_that_is_shorter_than_the_list_says_is_damaged(tmp_path: Path, jpeg: Any, make_zip: Any) -> None:
    path = make_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1)})
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # the size when unpacked, in the list at the end
    content[place : place + 4] = (len(jpeg(1)) + 256).to_bytes(4, "little")
    path.write_bytes(content)
    (photo,) = source_photos(path, lambda uri, why: None)
    with pytest.raises(ImageError, match="bytes came out in place of"):
        read_photo(photo.uri)


def header_of(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A header of tar whose size is written as it comes."""
    block = bytearray(tarfile.TarInfo(name).tobuf())
    block[124:136] = size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


ZERO = b"0" * 11 + b"\0"


@pytest.mark.parametrize(
    "header",
    [
        header_of("a.jpg", b"\xff" * 12),  # a negative size, by which some readers go back for ever
        header_of("a.jpg", b"\x80" + b"\x7f" * 11),  # more bytes than there are atoms
        header_of("x", b"\x80" + bytes(7) + b"\x7f\xff\xff\xff", b"L"),  # a long name of gigabytes
        header_of("x", b"\x80" + bytes(7) + b"\x7f\xff\xff\xff", b"x"),
        header_of("x", b"00000000022\0", b"x")
        + b"18 size=-123456789".ljust(512, b"\n")
        + header_of("a.jpg", b"0" * 11 + b"\0"),
    ],
)
@pytest.mark.timeout(30)
def test_headers_that_lead_nowhere_end_the_list(
    header: bytes, tmp_path: Path, find: Any, jpeg: Any, make_tar: Any
) -> None:
    path = make_tar(tmp_path / "a.tar", {"good.jpg": jpeg(1)})
    whole = path.read_bytes()
    end = 512 + -(-len(jpeg(1)) // 512) * 512
    path.write_bytes(whole[:end] + header + whole[end:])
    found = find(path)
    assert "a.tar!/good.jpg" in found.names
    assert "a.tar" in found.problems or "a.tar!/a.jpg" in found.problems


def test_two_archives_joined_into_one_are_told(tmp_path: Path, find: Any, jpeg: Any, make_tar: Any) -> None:
    one, two = (make_tar(tmp_path / f"{n}.tar", {f"{n}.jpg": jpeg(n)}) for n in range(2))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    found = find(one)
    assert found.names == ["0.tar!/0.jpg"]
    assert "joined" in found.problems["0.tar"]


def test_what_is_no_archive_says_so(tmp_path: Path, find: Any) -> None:
    for name in ALL:
        (tmp_path / name).write_bytes(b"<html>not found</html>" * 50)
        found = find(tmp_path / name)
        assert found.names == []
        assert list(found.problems) == [name]


def test_a_part_of_an_archive_can_be_named(tmp_path: Path, find: Any, jpeg: Any, make_zip: Any) -> None:
    make_zip(
        tmp_path / "a.zip", {"cats/1.jpg": jpeg(1), "cats/2.jpg": jpeg(2), "catsup.jpg": jpeg(3), "../x.jpg": b"1"}
    )
    assert find(tmp_path / "a.zip!/cats").names == ["a.zip!/cats/1.jpg", "a.zip!/cats/2.jpg"]
    assert find(tmp_path / "a.zip!/cats/", tmp_path / "a.zip!/catsup.jpg").names[-1] == "a.zip!/catsup.jpg"
    assert find(tmp_path / "a.zip!/dogs").problems == {"a.zip!/dogs": "is not in the archive"}
    assert find(tmp_path / "a.zip!/cats").problems == {}


def test_an_archive_without_pictures_says_so(tmp_path: Path, find: Any, make_tar: Any) -> None:
    assert find(make_tar(tmp_path / "a.tar", {"readme.md": b"x"})).problems == {"a.tar": "holds no image"}


def test_a_member_that_is_gone_or_an_archive_that_is(tmp_path: Path, jpeg: Any, make_tar: Any) -> None:
    path = make_tar(tmp_path / "a.tar", {"1.jpg": jpeg(1)})
    with pytest.raises(SourceError, match=r"2\.jpg is not in the archive"):
        read_photo(f"{path}!/2.jpg")
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.tar cannot be read: No such file"):
        read_photo(f"{path}!/1.jpg")


def test_an_archive_that_is_written_anew_is_looked_at_anew(tmp_path: Path, jpeg: Any, make_tar: Any) -> None:
    for name, mode in (("a.tar", "w"), ("a.tgz", "w:gz")):
        path = make_tar(tmp_path / name, {"1.jpg": jpeg(1)}, mode)
        assert read_photo(f"{path}!/1.jpg") == jpeg(1)
        make_tar(path, {"0.jpg": jpeg(7), "1.jpg": jpeg(2)}, mode)
        assert read_photo(f"{path}!/1.jpg") == jpeg(2)


def test_a_stream_is_read_once_for_members_in_its_order(tmp_path: Path, jpeg: Any, make_tar: Any) -> None:
    path = make_tar(tmp_path / "a.tgz", {f"{n}.jpg": jpeg(n) for n in range(20)}, "w:gz")
    archive: Any = open_archives().open(str(path))
    opened = 0
    plain_open = archive._open_file

    def counting() -> Any:
        nonlocal opened
        opened += 1
        return plain_open()

    archive._open_file = counting
    entries = list(archive.contents.members.values())
    for pair in zip(entries[1::2], entries[::2], strict=True):  # neighbours change places, as among threads
        for entry in pair:
            assert len(archive.read(entry)) == entry.size
    assert opened == 1
    archive.read(entries[0])
    assert opened == 2


def test_a_hundred_archives_are_not_all_kept(tmp_path: Path, jpeg: Any, make_tar: Any) -> None:
    for n in range(40):
        make_tar(tmp_path / f"{n:03d}.tar", {"1.jpg": jpeg(n)})
    photos = list(source_photos(f"{tmp_path}/{{000..039}}.tar"))
    assert len(photos) == 40
    assert len(open_archives()._opened) == 16
    assert [read_photo(photo.uri) for photo in photos] == [jpeg(n) for n in range(40)]

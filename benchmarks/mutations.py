"""What becomes of real files that were damaged at random: 20,000 of them, each decoded as an ingest would.

    python benchmarks/mutations.py                      # writes benchmarks/results/mutations.json
    python benchmarks/mutations.py --count 500 --out -  # a few, on standard output

Real photos (SBKA_REAL_DATA, else drawn ones) are written in all six formats and several variants of each. Every
mutation has a number, and the same number damages the same file in the same way. It is decoded by the processes of
:class:`~sbka_milvus.images.decoders.Decoders` under the limits of an ingest, and ends in one of these ways:

``decoded``    there was a picture
``refused``    there was none, for a reason that names the file
``timed out``  its process ran out of time, and was killed
``crashed``    it ended two processes
``hung``       there was no answer even beyond the limit
``wrong``      anything else: an error that is not ours, a picture without pixels
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import platform
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from sbka_milvus.errors import ImageError
from sbka_milvus.files import replacing
from sbka_milvus.images import DecodeLimits, Decoders, PhotoFile
from sbka_milvus.memory import peak_memory

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "mutations.json"
OUTCOMES = ("decoded", "refused", "timed out", "crashed", "hung", "wrong")
LIMITS = DecodeLimits(seconds=10.0, memory_mb=512, target=224)
PHOTOS = 12
BEYOND_S = 20.0
"""So long after its limit a photo without an answer counts as hung."""


def main() -> None:
    """Runs the benchmark and writes its report."""
    arguments = parse()
    seeds, real = seed_files(arguments.data, PHOTOS)
    report = {
        "count": arguments.count,
        "seed": arguments.seed,
        "real photos": real,
        "seed files": len(seeds),
        "limits": {"seconds": LIMITS.seconds, "memory_mb": LIMITS.memory_mb, "max_pixels": LIMITS.max_pixels},
        **run(seeds, arguments.count, arguments.seed, arguments.processes),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "libraries": {name: features.version(name) for name in ("jpg", "zlib", "webp", "libtiff")},
        },
    }
    text = json.dumps(report, indent=2) + "\n"
    if str(arguments.out) == "-":
        sys.stdout.write(text)
    else:
        with replacing(arguments.out) as stream:
            stream.write(text.encode())
        print({name: report["outcomes"][name] for name in OUTCOMES}, f"-> {arguments.out}")
    if any(report["outcomes"][name] for name in ("crashed", "hung", "wrong")):
        sys.exit(1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="mutations (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SBKA_REAL_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args()


def run(seeds: Sequence[Seed], count: int, seed: int, processes: int) -> dict[str, Any]:
    """Decodes mutations.

    Returns:
        ``outcomes`` in all, ``by form`` and ``by change``; ``seconds``; the most memory of one process that decodes and
        of this one; processes that were started.
    """
    totals: Counter[str] = Counter()
    tables: dict[str, dict[str, Counter[str]]] = {"by form": {}, "by change": {}}
    wrong: list[str] = []
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="sbka-mutations-") as folder,
        Decoders(LIMITS, processes) as decoders,
        ThreadPoolExecutor(processes) as threads,
    ):

        def one(number: int) -> tuple[Mutation, str, str]:
            mutation = mutate(seeds, seed, number)
            path = Path(folder) / f"{number}.dat"
            path.write_bytes(mutation.data)
            outcome, why = outcome_of(decoders, path)
            path.unlink()
            return mutation, outcome, why

        for begin in range(0, count, 1000):
            works = [threads.submit(one, number) for number in range(begin, min(count, begin + 1000))]
            for number, work in enumerate(works, begin):
                try:
                    mutation, outcome, why = work.result(LIMITS.seconds + BEYOND_S)
                except TimeoutError:
                    # Its thread comes back when its process is gone; the rest is told to stop.
                    mutation, outcome, why = mutate(seeds, seed, number), "hung", "no answer"
                    decoders.close()
                totals[outcome] += 1
                for table, key in (("by form", mutation.form), ("by change", mutation.change)):
                    tables[table].setdefault(key, Counter())[outcome] += 1
                if outcome in OUTCOMES[2:]:
                    wrong.append(f"{mutation.number} ({mutation.form}, {mutation.change}): {outcome}: {why}")
            print(f"{min(count, begin + 1000):,} of {count:,}: {dict(totals)}", file=sys.stderr)
        use = decoders.use
    return {
        "outcomes": {name: totals[name] for name in OUTCOMES},
        "not decoded or refused": wrong,
        "seconds": round(time.perf_counter() - start, 1),
        "peak memory of a decoding process in MiB": round(use.peak_bytes / 2**20, 1),
        "peak memory of this process in MiB": round(peak_memory() / 2**20, 1),
        "processes started": use.started,
        "processes that ended by themselves": use.crashed,
        **{name: {key: dict(counts) for key, counts in sorted(table.items())} for name, table in tables.items()},
    }


def outcome_of(decoders: Decoders, path: Path) -> tuple[str, str]:
    """How the decoding of a file ends, and what is said of it."""
    try:
        photo = decoders.decode(PhotoFile(str(path), path, 0, 0))
    except ImageError as error:
        why = error.problem
        name = "timed out" if "DECODE_SECONDS" in why else "crashed" if " ended 2 processes" in why else "refused"
        return ("wrong", f"no name in {why}") if str(path) not in why else (name, why)
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    sound = photo.image.mode == "RGB" and min(*photo.image.size, photo.width, photo.height) > 0
    return ("decoded", "") if sound else ("wrong", f"a picture of {photo.image.size}")


@dataclass(frozen=True, slots=True)
class Seed:
    """A sound file.

    Attributes:
        form: of it, such as "JPEG progressive".
        data: its bytes.
        fields: places and sizes (2 or 4) of numbers that say how long something is.
        parts: where its parts begin: segments, chunks, blocks.
    """

    form: str
    data: bytes
    fields: tuple[tuple[int, int], ...]
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A damaged file."""

    number: int
    form: str
    change: str
    data: bytes


def seed_files(data: Path, photos: int) -> tuple[list[Seed], int]:
    """Sound files in all forms, and of how many real photos they were made (0: they are drawn)."""
    found = sorted((data / "sketchy-mini" / "photos").rglob("*.jpg"))
    step = max(1, len(found) // photos)
    images = []
    for path in found[::step][:photos]:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    real = len(images)
    images = images or [_drawn(number) for number in range(photos)]
    return [seed for number, image in enumerate(images) for seed in _forms(image, images[number - 1])], real


def _drawn(number: int) -> Image.Image:
    cells = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((256, 192), Image.Resampling.BICUBIC)


def _forms(image: Image.Image, other: Image.Image) -> Iterator[Seed]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    frames = {"save_all": True, "append_images": [other.resize(image.size)]}
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    alpha = image.copy()
    alpha.putalpha(image.convert("L"))
    variants: tuple[tuple[str, Image.Image, str, dict[str, Any]], ...] = (
        ("JPEG", image, "JPEG", {"exif": exif, "icc_profile": bytes(500)}),
        ("JPEG progressive", image, "JPEG", {"progressive": True}),
        ("JPEG CMYK", image.convert("CMYK"), "JPEG", {}),
        ("PNG", image, "PNG", {"exif": exif}),
        ("PNG palette", image.quantize(64), "PNG", {"transparency": b"\0\x80"}),
        ("PNG alpha", alpha, "PNG", {}),
        ("PNG 16 bits", deep, "PNG", {}),
        ("WebP", image, "WEBP", {"exif": exif.tobytes()}),
        ("WebP lossless", alpha, "WEBP", {"lossless": True}),
        ("WebP animated", image, "WEBP", frames),
        ("GIF", image.quantize(64), "GIF", {}),
        ("GIF animated", image, "GIF", frames),
        ("BMP", image, "BMP", {}),
        ("BMP palette", image.quantize(64), "BMP", {}),
        ("TIFF", image, "TIFF", {"exif": exif}),
        ("TIFF LZW", image, "TIFF", {"compression": "tiff_lzw"}),
        ("TIFF JPEG", image, "TIFF", {"compression": "jpeg"}),
        ("TIFF 16 bits", deep, "TIFF", {}),
    )
    for form, picture, name, options in variants:
        file = io.BytesIO()
        picture.save(file, name, **options)
        data = file.getvalue()
        fields, parts = _structure(name, data)
        yield Seed(form, data, tuple(fields), tuple(parts))


def _structure(form: str, data: bytes) -> tuple[list[tuple[int, int]], list[int]]:
    """Where a file's lengths stand, and where its parts begin."""
    fields: list[tuple[int, int]] = []
    parts: list[int] = []
    if form == "JPEG":
        place = 2
        while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
            parts.append(place)
            fields.append((place + 2, 2))
            if data[place + 1] in (0xC0, 0xC1, 0xC2):
                fields += [(place + 5, 2), (place + 7, 2)]
            place += 2 + int(struct.unpack_from(">H", data, place + 2)[0])
        parts.append(place)
    elif form in ("PNG", "WEBP"):
        place, order, header = (8, ">I", 8) if form == "PNG" else (12, "<I", 8)
        if form == "WEBP":
            fields.append((4, 4))
        while place + header <= len(data):
            parts.append(place)
            at = place if form == "PNG" else place + 4
            fields.append((at, 4))
            size = int(struct.unpack_from(order, data, at)[0])
            place += size + 12 if form == "PNG" else size + (size & 1) + 8
        if form == "PNG":
            fields += [(16, 4), (20, 4)]
    elif form == "BMP":
        fields = [(place, 4) for place in (2, 10, 14, 18, 22, 30, 34, 46)] + [(26, 2), (28, 2)]
        parts = [14, 54]
    elif form == "GIF":
        fields = [(6, 2), (8, 2), (10, 2)]
        parts = [at for at in range(13, len(data)) if data[at] in b"\x21\x2c"][:20]
    elif form == "TIFF":
        place = int(struct.unpack_from("<I", data, 4)[0])
        fields.append((4, 4))
        fields.append((place, 2))
        for entry in range(int(struct.unpack_from("<H", data, place)[0])):
            at = place + 2 + 12 * entry
            parts.append(at)
            fields += [(at, 2), (at + 2, 2), (at + 4, 4), (at + 8, 4)]
    return [(at, size) for at, size in fields if at + size <= len(data)], parts


def mutate(seeds: Sequence[Seed], seed: int, number: int) -> Mutation:
    """A mutation, always the same for its number."""
    dice = random.Random(f"{seed}-{number}")
    original = dice.choice(seeds)
    change, act = dice.choice(CHANGES)
    data = bytearray(original.data)
    act(data, original, seeds, dice)
    return Mutation(number, original.form, change, bytes(data))


def _place(data: bytearray, dice: random.Random) -> int:
    # Headers are where it hurts, so half of the hits land there.
    return dice.randrange(min(200, len(data)) if dice.random() < 0.5 else len(data))


def _flip(data: bytearray, _seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        data[_place(data, dice)] ^= 1 << dice.randrange(8)


def _set(data: bytearray, _seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    for _ in range(dice.choice((1, 2, 8, 64))):
        data[_place(data, dice)] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))


def _cut(data: bytearray, _seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    del data[dice.randrange(1, len(data)) :]


def _lengths(data: bytearray, seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    for at, size in dice.sample(seed.fields, min(len(seed.fields), dice.choice((1, 1, 2, 3)))):
        most = 256**size - 1
        old = int.from_bytes(data[at : at + size], "big")
        chosen = dice.choice((0, 1, most, most // 2, most // 2 + 1, old + 1, old - 1, old * 2, dice.randrange(most)))
        data[at : at + size] = (chosen & most).to_bytes(size, dice.choice(("big", "little")))


def _splice(data: bytearray, seed: Seed, seeds: Sequence[Seed], dice: random.Random) -> None:
    kin = [other for other in seeds if other.form.split()[0] == seed.form.split()[0]]
    other = dice.choice(kin if dice.random() < 0.8 else seeds).data
    at, begin = dice.randrange(len(data)), dice.randrange(len(other))
    length = dice.randrange(1, len(other) - begin + 1)
    data[at : at + (length if dice.random() < 0.5 else 0)] = other[begin : begin + length]


def _swap(data: bytearray, seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    places = sorted({*seed.parts, *(dice.randrange(len(data)) for _ in range(2)), len(data)})
    pieces = [bytes(data[: places[0]]), *(bytes(data[a:b]) for a, b in itertools.pairwise(places))]
    one, other = (dice.randrange(len(pieces)) for _ in range(2))
    pieces[one], pieces[other] = pieces[other], pieces[one]
    data[:] = b"".join(pieces)


def _repeat(data: bytearray, seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    begin = dice.choice(seed.parts) if seed.parts and dice.random() < 0.7 else dice.randrange(len(data))
    end = min(len(data), begin + dice.choice((1, 12, 100, 5000)))
    data[begin:begin] = bytes(data[begin:end]) * dice.choice((1, 2, 50))


def _lose(data: bytearray, seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    begin = dice.choice(seed.parts) if seed.parts and dice.random() < 0.5 else dice.randrange(len(data))
    del data[begin : begin + dice.choice((1, 2, 12, 100, 5000))]
    if not data:
        data.append(0)


def _blank(data: bytearray, _seed: Seed, _seeds: Sequence[Seed], dice: random.Random) -> None:
    begin = _place(data, dice)
    length = min(len(data) - begin, dice.choice((4, 100, 4096)))
    data[begin : begin + length] = bytes([dice.choice((0, 255, dice.randrange(256)))]) * length


Change = Callable[[bytearray, Seed, Sequence[Seed], random.Random], None]
CHANGES: tuple[tuple[str, Change], ...] = (
    ("bits flipped", _flip),
    ("bytes set", _set),
    ("cut short", _cut),
    ("lengths changed", _lengths),
    ("spliced", _splice),
    ("parts swapped", _swap),
    ("parts repeated", _repeat),
    ("bytes lost", _lose),
    ("bytes blanked", _blank),
)


if __name__ == "__main__":
    main()

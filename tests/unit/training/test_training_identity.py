"""What makes a checkpoint another training's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sbka_milvus.images import LabelledImage
from sbka_milvus.training.identity import digest_of_images, digest_of_tensors


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    found = []
    for category in ("cat", "dog"):
        (tmp_path / category).mkdir()
        path = tmp_path / category / "1.jpg"
        path.write_bytes(b"picture")
        os.utime(path, ns=(5, 5))
        found.append(LabelledImage(path, category))
    return found


def test_sizes_times_names_categories_and_what_is_left_out_count(images: list[LabelledImage]) -> None:
    first, second = images
    found = [digest_of_images(images, [])]
    found.append(digest_of_images(images[:1], []))
    found.append(digest_of_images(images, [(second.path, "damaged")]))
    found.append(digest_of_images([first, LabelledImage(second.path, "wolf")], []))
    os.utime(first.path, ns=(5, 6))
    found.append(digest_of_images(images, []))
    first.path.write_bytes(b"another")
    os.utime(first.path, ns=(5, 5))
    assert digest_of_images(images, []) == found[0]
    first.path.write_bytes(b"longer picture")
    os.utime(first.path, ns=(5, 5))
    found.append(digest_of_images(images, []))
    first.path.unlink()
    found.append(digest_of_images(images, []))
    assert len(set(found)) == len(found)


def test_a_drawing_counts_by_its_line_and_by_the_file_it_lies_in(tmp_path: Path) -> None:
    file = tmp_path / "cat.ndjson"
    file.write_text("one\ntwo\n")
    os.utime(file, ns=(5, 5))
    first, second = (LabelledImage(file / offset, "cat") for offset in ("0", "4"))
    found = [digest_of_images([first], []), digest_of_images([second], [])]
    os.utime(file, ns=(5, 6))
    found.append(digest_of_images([first], []))
    file.unlink()
    found.append(digest_of_images([first], []))
    assert len(set(found)) == len(found)


def test_the_place_of_the_folder_does_not_count(images: list[LabelledImage], tmp_path: Path) -> None:
    before = digest_of_images(images, [])
    (tmp_path / "cat").rename(tmp_path / "elsewhere")
    assert digest_of_images([LabelledImage(tmp_path / "elsewhere" / "1.jpg", "cat"), images[1]], []) == before


def test_numbers_shapes_and_types_count_and_the_layout_does_not() -> None:
    tensor = torch.arange(24.0).view(1, 2, 3, 4)
    digest = digest_of_tensors([tensor])
    assert digest_of_tensors([tensor.to(memory_format=torch.channels_last)]) == digest
    others = [[tensor + 1], [tensor.view(-1)], [tensor.double()], [tensor, torch.empty(0)], []]
    assert len({digest, *(digest_of_tensors(other) for other in others)}) == 6

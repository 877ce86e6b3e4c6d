"""Weight files: two formats, damage, and pickles that carry code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sbka_milvus.encoders.backbones import BuiltBackbone
from sbka_milvus.encoders.weights import read_weights
from sbka_milvus.errors import BackboneError


class RunsCode:
    """Touches a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).view(2, 3), "count": torch.tensor(7)}


def test_safetensors_come_with_their_metadata_and_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({**tensors(), "half": torch.ones(2, dtype=torch.float16)}, path, metadata={"timm": "x"})
    state, metadata = read_weights(path)
    assert metadata == {"timm": "x"}
    assert torch.equal(state["a"], tensors()["a"])
    assert state["half"].dtype == torch.float32
    assert state["count"].dtype == torch.int64


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state}, lambda s: {"model": s}])
def test_torch_files_of_tensors_are_read(suffix: str, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(wrap({f"module.{name}": value for name, value in tensors().items()}), path)
    state, metadata = read_weights(path)
    assert metadata == {}
    assert state.keys() == tensors().keys()
    assert torch.equal(state["a"], tensors()["a"])


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt", "."])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist") as caught:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in caught.value.problem


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "text"])
def test_a_damaged_file_is_named(suffix: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(tensors(), path)
    else:
        save_file(tensors(), path)
    whole = path.read_bytes()
    damaged = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": bytes(range(256)), "text": b"not weights"}
    path.write_bytes(damaged[damage])
    with pytest.raises(BackboneError) as caught:
        read_weights(path)
    assert str(path) in caught.value.problem
    assert "safetensors" in caught.value.remedy


def test_bytes_that_the_unpickler_stumbles_over_are_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"\x80\x02X\x03\x00\x00\x00\xff\xfe\xfd.")
    with pytest.raises(BackboneError, match="damaged"):
        read_weights(path)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(save: Callable[..., Any], tmp_path: Path) -> None:
    path, touched = tmp_path / "w.pt", tmp_path / "touched"
    save({"a": RunsCode(touched)}, path)
    with pytest.raises(BackboneError, match="was not loaded"):
        read_weights(path)
    renamed = path.rename(tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match="not a readable safetensors file"):
        read_weights(renamed)
    assert not touched.exists()


def test_that_code_would_run_if_it_were_unpickled(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    pickle.loads(pickle.dumps(RunsCode(touched)))
    assert touched.exists()


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {"a": 1}, {"state_dict": {"a": "text"}}])
def test_a_file_of_something_else_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(content, path)
    with pytest.raises(BackboneError, match="not a state dict"):
        read_weights(path)


def test_a_file_with_numbered_tensors_does_not_fit(build: Callable[..., BuiltBackbone], tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({1: torch.ones(2)}, path)
    with pytest.raises(BackboneError, match="do not fit timm:test_resnet"):
        build(weights=path)

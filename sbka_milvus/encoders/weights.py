"""Reading weight files from disk. Pickles are never executed."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from sbka_milvus.errors import BackboneError

TORCH_SUFFIXES = (".pt", ".pth", ".bin")


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and text metadata of a weights file.

    Args:
        path: ``.safetensors``, or a torch file (``.pt``, ``.pth``, ``.bin``) that holds nothing but tensors.

    Returns:
        Tensors by name, floating ones as float32; and the metadata, empty where the format has none.

    Raises:
        BackboneError: The file is missing, damaged, or not a plain set of tensors.
    """
    if not path.is_file():
        raise BackboneError(f"The weights file {path} does not exist.", "Check the path given with --weights.")
    if path.suffix in TORCH_SUFFIXES:
        tensors, metadata = _read_torch(path), dict[str, str]()
    else:
        tensors, metadata = _read_safetensors(path)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, metadata


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as archive:
            return {name: archive.get_tensor(name) for name in archive.keys()}, dict(archive.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BackboneError(
            f"The weights file {path} is not a readable safetensors file: {error}.",
            "Fetch it again, or convert it to safetensors.",
        ) from error


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file fails inside the restricted unpickler with whatever its bytes happen to say.
        raise BackboneError(
            f"The weights file {path} holds more than tensors, or is damaged; it was not loaded.",
            "Save its state dict with safetensors.torch.save_file and pass that file.",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise BackboneError(f"The weights file {path} is not a state dict.", "Pass a file of tensors by name.")
    return {str(name).removeprefix("module."): value for name, value in content.items()}

"""Reading values that several commands take."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbka_milvus.errors import SettingsError

if TYPE_CHECKING:
    from sbka_milvus.encoders.backbones import BuildRequest


def build_request(backbone: str, weights: Path | None, size: int | None, options: list[str] | None) -> BuildRequest:
    """How to build the backbone that a user named.

    Raises:
        BackboneError: The name has another form.
        SettingsError: An option is not KEY=VALUE.
    """
    from sbka_milvus.encoders.backbones import BuildRequest
    from sbka_milvus.encoders.spec import BackboneSpec

    return BuildRequest(BackboneSpec.parse(backbone), weights, size=size, options=key_values(options or []))


def key_values(entries: list[str]) -> dict[str, Any]:
    """Options of the form KEY=VALUE; numbers, booleans and None are read as such.

    >>> key_values(["pad_type=same", "depth=3", "flag=True"])
    {'pad_type': 'same', 'depth': 3, 'flag': True}
    """
    values: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key:
            raise SettingsError(f"The option {entry!r} is not of the form KEY=VALUE.", "For example pad_type=same.")
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = text
    return values

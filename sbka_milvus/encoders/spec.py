"""Names of backbones: ``timm:mobilenetv2_100``, ``open_clip:ViT-B-32/laion2b_s34b_b79k``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sbka_milvus.errors import BackboneError, SettingsError

LIBRARIES = ("open_clip", "timm")
DEFAULT_BACKBONE = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """Which backbone to build.

    Attributes:
        library: ``open_clip`` or ``timm``.
        model: the library's own name of the model.
        tag: the library's name of a set of pre-trained weights on a hub; empty for none.
    """

    library: str
    model: str
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> BackboneSpec:
        """Reads ``library:model`` or ``library:model/tag``.

        Raises:
            BackboneError: The text has another form or names another library.

        >>> BackboneSpec.parse("open_clip:ViT-B-32/laion2b_s34b_b79k")
        BackboneSpec(library='open_clip', model='ViT-B-32', tag='laion2b_s34b_b79k')
        >>> str(BackboneSpec.parse("timm:mobilenetv2_100"))
        'timm:mobilenetv2_100'
        """
        library, _, rest = text.partition(":")
        model, _, tag = rest.partition("/")
        if library not in LIBRARIES or not model:
            raise BackboneError(
                f"The backbone {text!r} is not of the form library:model or library:model/tag.",
                f"The libraries are {' and '.join(LIBRARIES)}: for example {DEFAULT_BACKBONE} or timm:mobilenetv2_100.",
            )
        return cls(library, model, tag)

    def __str__(self) -> str:
        return f"{self.library}:{self.model}" + (f"/{self.tag}" if self.tag else "")


def key_values(entries: Iterable[str]) -> dict[str, Any]:
    """Options of a backbone, of the form KEY=VALUE; numbers, booleans and None are read as such.

    Raises:
        SettingsError: An option has another form.

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

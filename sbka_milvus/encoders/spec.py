"""Names of backbones: ``timm:mobilenetv2_100``, ``open_clip:ViT-B-32/laion2b_s34b_b79k``."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.errors import BackboneError

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

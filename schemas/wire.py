"""What all models that cross a process have in common."""

from __future__ import annotations

import json
import os
import re
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from sbka_milvus.errors import JobError

Model = TypeVar("Model", bound=BaseModel)

JOB_ID = r"^[a-z]+-\d{8}-\d{6}-[0-9a-f]{6}$"
"""Ids of jobs: kind, time, and what tells apart those of one second."""


class Wire(BaseModel):
    """Frozen, and strict about names: what does not fit is refused before it is queued."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _absolute(path: str) -> str:
    if not os.path.isabs(path):  # noqa: PTH117
        raise ValueError("must be absolute: a worker has another working folder")
    return path


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""A path that means the same to the one who asks and to the worker."""


def _absolute_source(source: str) -> str:
    return source if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", source) else _absolute(source)


AbsoluteSource = Annotated[str, AfterValidator(_absolute_source)]
"""An absolute path, or an address such as ``https://example.org/photos.tar``."""


def paths_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of a model's entries that are paths.

    >>> class Wish(Wire):
    ...     photos: AbsolutePath
    ...     split: AbsolutePath | None = None
    ...     name: str
    >>> paths_of(Wish)
    ('photos', 'split')
    """
    hints = get_type_hints(model, include_extras=True)
    return tuple(name for name in model.model_fields if AbsolutePath in (hints[name], *get_args(hints[name])))


def parse(model: type[Model], content: Any, what: str) -> Model:
    """Reads a model from JSON text or from plain values.

    Args:
        model: what it must fit.
        content: text or bytes of JSON, or a mapping.
        what: its name in the message.

    Raises:
        JobError: It does not fit; names the entry.
    """
    if isinstance(content, (str, bytes)):
        try:
            # Not by pydantic: names of files may hold bytes that are no characters, and it refuses those.
            content = json.loads(content)
        except ValueError as error:
            raise JobError(f"{what} does not fit at its JSON: {error}.", "Correct it and ask again.") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its whole"
        raise JobError(f"{what} does not fit at {where}: {first['msg']}.", "Correct it and ask again.") from error

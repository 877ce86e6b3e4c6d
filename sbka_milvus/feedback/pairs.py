"""One verdict of a user on one photo for one sketch, and the line of the log that holds it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from sbka_milvus.errors import InvalidValue

Verdict = Literal["accepted", "rejected"]
_DIGEST = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class FeedbackPair:
    """A photo that a user accepted or rejected for a sketch.

    Attributes:
        time: when, with a time zone.
        sketch: BLAKE2b of the sketch's file, 32 hex digits; the file is ``feedback/sketches/<sketch>.png``.
        uri: the photo, as the gallery names it.
        verdict: ``accepted`` or ``rejected``.
        category: what the user says the sketch shows; none where the user did not say.
        fingerprint: of the model that found the photo; may be empty.
        source: where the verdict comes from, such as ``cli``; may be empty.

    Raises:
        InvalidValue: A part is missing or has another form.
    """

    time: datetime
    sketch: str
    uri: str
    verdict: Verdict
    category: str | None = None
    fingerprint: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise InvalidValue(f"The verdict {self.verdict!r} is unknown.", f"Use {' or '.join(get_args(Verdict))}.")
        if self.time.tzinfo is None:
            raise InvalidValue("The time of a verdict has no time zone.", "Pass datetime.now(UTC).")
        if not _DIGEST.fullmatch(self.sketch):
            raise InvalidValue(f"{self.sketch!r} is no digest of a sketch.", "It has 32 hexadecimal digits.")
        if not self.uri:
            raise InvalidValue("A verdict names no photo.", "Give the photo's URI.")
        if self.category is not None and not self.category.strip():
            raise InvalidValue("The category of a sketch is empty.", "Name it, or leave it out.")

    @property
    def subject(self) -> tuple[str, str]:
        """The sketch and the photo; of two pairs with the same ones the later counts."""
        return self.sketch, self.uri

    def to_line(self) -> bytes:
        """The line of the log, with its line break."""
        values = asdict(self) | {"time": self.time.astimezone(UTC).isoformat()}
        return json.dumps(values).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> FeedbackPair:
        """Reads a line of the log.

        Raises:
            ValueError: It is cut short, or something else; InvalidValue is one.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or not all(_is_text(values, name) for name in ("time", "sketch", "uri")):
            raise ValueError("it is no verdict")
        try:
            return cls(**(values | {"time": datetime.fromisoformat(values["time"])}))
        except TypeError as error:
            raise ValueError(str(error)) from error


def _is_text(values: dict[str, Any], name: str) -> bool:
    return isinstance(values.get(name), str)


def newest(pairs: Iterable[FeedbackPair]) -> list[FeedbackPair]:
    """The pairs that count, in the order in which they came to be.

    Of several verdicts on one photo for one sketch the last counts. One that says again what was said before is no
    news: the pair keeps its time, so that repeating it starts no training.
    """
    current: dict[tuple[str, str], FeedbackPair] = {}
    for pair in pairs:
        before = current.get(pair.subject)
        if before is not None and (before.verdict, before.category) == (pair.verdict, pair.category):
            continue
        current.pop(pair.subject, None)  # so that a change of mind stands where it was made
        current[pair.subject] = pair
    return list(current.values())

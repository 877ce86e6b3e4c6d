"""Records of the versions of a gallery: what each was built from, written before its first photo is sent.

A version without a record, or with another number of photos than its record says, is one that was not finished.
Beside the record of a version whose vectors were lifted lies what they were lifted by, and beside that of one that
holds equal photos a list of those; both are written before the record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings.copies import copies_file
from sbka_milvus.errors import OutputError
from sbka_milvus.files import replacing


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What one version was built from, and what became of it.

    Attributes:
        version: its number in the store.
        token: its name in the store: numbers may come again, tokens never do.
        fingerprint: of the model that made its vectors.
        photos: how many it must hold.
        clusters: how many it has.
        source: digest of the shards and options that it was built from.
        created: ISO time, UTC.
        options: those of the clustering; where `sbka cluster` asked for them, so that they hold on, also ``asked``.
        gate: what the gate decided of it; none where it was not asked.
        promoted: ISO time, UTC, at which it was last put into service; none where it never was.
        rolled_back: ISO time, UTC, at which it was rolled back from; none where it was not, or serves again.
        matching: ``form``, *fused* or *linear*, and what led to it; none where a release that knew one form wrote it.
        distinct: how many of its photos are distinct; none where a release that did not look for equal ones wrote it.
        clustering: how its clusters came about: see :class:`~sbka_milvus.pipelines.origin.ClusterOrigin`; none where
            a release wrote it that fitted clusters anew every time.
    """

    version: int
    token: str
    fingerprint: str
    photos: int
    clusters: int
    source: str
    created: str
    options: Mapping[str, Any]
    gate: Mapping[str, Any] | None = None
    promoted: str | None = None
    rolled_back: str | None = None
    matching: Mapping[str, Any] | None = None
    distinct: int | None = None
    clustering: Mapping[str, Any] | None = None

    @property
    def waits(self) -> bool:
        """Whether it was built and nothing has been decided of it: a candidate."""
        return self.promoted is None and self.rolled_back is None and (self.gate is None or bool(self.gate["passed"]))


def utc_now() -> str:
    """ISO time, UTC, with microseconds, so that it sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_version_record(folder: Path, record: VersionRecord) -> None:
    """Writes or replaces a record.

    Raises:
        OutputError: The folder cannot be written.
    """
    with replacing(_path(folder, record.token)) as file:
        file.write((json.dumps(asdict(record), indent=2) + "\n").encode())


def read_version_record(folder: Path, token: str) -> VersionRecord | None:
    """The record of a version; none where there is none, or it is damaged: nothing is known of the version then."""
    try:
        content = json.loads(_path(folder, token).read_text(encoding="utf-8"))
        names = {field.name for field in fields(VersionRecord)}
        record = VersionRecord(**{name: value for name, value in content.items() if name in names})
        return record if _is_sound(record, token) else None
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def list_version_records(folder: Path) -> list[VersionRecord]:
    """All sound records, oldest first."""
    found = [read_version_record(folder, path.stem) for path in folder.glob("*.json")] if folder.is_dir() else []
    return sorted((record for record in found if record is not None), key=lambda record: record.created)


def remove_version_record(folder: Path, token: str) -> None:
    """Removes a record and what lies beside it, if it is there.

    Raises:
        OutputError: The folder cannot be written.
    """
    # The record first: without it nobody takes the version for a whole one.
    beside = (matching_file(folder, token), copies_file(folder, token), codes_file(folder, token))
    for path in (_path(folder, token), *beside):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {error.strerror}.", "Check the permissions.") from error


def matching_file(folder: Path, token: str) -> Path:
    """Where what a version's vectors were lifted by lies, if they were."""
    return folder / f"{token}.npz"


def codes_file(folder: Path, token: str) -> Path:
    """Where the codes of a version's photos lie (:mod:`sbka_milvus.clusters.codes`)."""
    return folder / f"{token}.codes"


def _is_sound(record: VersionRecord, token: str) -> bool:
    gate_is_sound = record.gate is None or (isinstance(record.gate, dict) and "passed" in record.gate)
    matching_is_sound = record.matching is None or (isinstance(record.matching, dict) and "form" in record.matching)
    counts_are_sound = isinstance(record.photos, int) and isinstance(record.distinct, int | None)
    return record.token == token and counts_are_sound and gate_is_sound and matching_is_sound


def _path(folder: Path, token: str) -> Path:
    return folder / f"{token}.json"

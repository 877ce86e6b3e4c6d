"""What a contact sheet may be written as."""

from __future__ import annotations

from pathlib import Path


def require_sheet_suffix(sheet: Path) -> None:
    """Refuses a name by which nobody knows what to write.

    Raises:
        SettingsError: Naming it.
    """
    from sbka_milvus.errors import SettingsError

    if sheet.suffix.lower() not in (".png", ".html", ".htm"):
        raise SettingsError(f"A contact sheet cannot be written as {sheet.name}.", "Name it .png or .html.")

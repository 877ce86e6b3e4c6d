"""Feedback: verdicts on photos that a gallery holds, into its log."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import GalleryError
from sbka_milvus.feedback import FeedbackLog, FeedbackPair
from sbka_milvus.feedback.pairs import Verdict


def give_feedback(
    gallery: Gallery,
    sketch: Any,
    photos: Sequence[str | Path],
    verdict: Verdict,
    *,
    category: str | None = None,
    source: str = "",
    known: Container[str] | None = None,
) -> list[FeedbackPair]:
    """Accepts or rejects photos for a sketch. Nothing is written where one of the photos is unknown.

    Args:
        gallery: that the photos were found in.
        sketch: whatever :class:`~sbka_milvus.SketchSearch` takes.
        photos: URIs as hits name them, or paths to the same files.
        verdict: ``accepted`` or ``rejected``.
        category: what the sketch shows, where the user says so.
        source: where the verdict comes from.
        known: URIs of the gallery; by default those of its shards, which are then read.

    Raises:
        GalleryError: The gallery does not hold a photo, or a shard is damaged.
        ImageError: The sketch cannot be read, or has no ink on it.
        InvalidValue: The verdict or the category has another form.
        OutputError: The gallery's folder cannot be written.
    """
    if known is None:
        from sbka_milvus.embeddings.shards import read_known

        known = read_known(gallery.shard_folder)
    uris = [_known_uri(photo, known, gallery) for photo in photos]
    log = FeedbackLog(gallery.root)
    return [log.add(sketch, uri, verdict, category, gallery.fingerprint, source) for uri in uris]


def _known_uri(photo: str | Path, known: Container[str], gallery: Gallery) -> str:
    text = os.fspath(photo)
    # As it was ingested: not resolved. A path through another link is given a second chance.
    for uri in (text, os.path.abspath(text), os.path.realpath(text)):  # noqa: PTH100
        if uri in known:
            return uri
    raise GalleryError(
        f"The gallery {gallery.root} does not hold the photo {text}.", "Name it as the hits of a search do."
    )

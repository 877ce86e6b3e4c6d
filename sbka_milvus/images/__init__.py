"""Finds, decodes and checks photos; normalises sketches; reads data sets of categories and their splits."""

from __future__ import annotations

from sbka_milvus.images.datasets import LabelledImage, list_categories, list_images, match_categories
from sbka_milvus.images.decode import DecodedPhoto, load_photo, load_photo_file
from sbka_milvus.images.find import IMAGE_SUFFIXES, PhotoFile, find_photos
from sbka_milvus.images.sketch import load_sketch, normalise_sketch
from sbka_milvus.images.source import MAX_PIXELS, content_hash
from sbka_milvus.images.splits import Split
from sbka_milvus.images.strokes import Strokes, render_strokes, strokes_from_quickdraw

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "DecodedPhoto",
    "LabelledImage",
    "PhotoFile",
    "Split",
    "Strokes",
    "content_hash",
    "find_photos",
    "list_categories",
    "list_images",
    "load_photo",
    "load_photo_file",
    "load_sketch",
    "match_categories",
    "normalise_sketch",
    "render_strokes",
    "strokes_from_quickdraw",
]

"""Finds, decodes and checks photos; normalises sketches; reads data sets of categories and their splits."""

from __future__ import annotations

from sbka_milvus.images.datasets import LabelledImage, list_categories, list_images, match_categories
from sbka_milvus.images.decode import DecodedPhoto, load_photo, load_photo_file, load_photo_uri
from sbka_milvus.images.decoders import DecodeLimits, Decoders
from sbka_milvus.images.drawings import Drawing, load_drawing, partial, read_drawings
from sbka_milvus.images.filelists import file_list_images, without_doubles
from sbka_milvus.images.find import IMAGE_SUFFIXES, PhotoFile, find_photos
from sbka_milvus.images.pseudo import photo_strokes, pseudo_sketch
from sbka_milvus.images.sketch import load_sketch, normalise_sketch
from sbka_milvus.images.source import MAX_PIXELS, content_hash
from sbka_milvus.images.sources.find import absolute_sources, photos_of_uris, source_photos
from sbka_milvus.images.sources.present import archive_members, is_on_disk
from sbka_milvus.images.sources.read import is_gone, read_photo
from sbka_milvus.images.splits import Split
from sbka_milvus.images.strokes import Strokes, render_strokes, strokes_from_quickdraw
from sbka_milvus.images.unfinished import drawing_order, unfinished
from sbka_milvus.images.uris import belongs_to, is_remote, still_there

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "DecodeLimits",
    "DecodedPhoto",
    "Decoders",
    "Drawing",
    "LabelledImage",
    "PhotoFile",
    "Split",
    "Strokes",
    "absolute_sources",
    "archive_members",
    "belongs_to",
    "content_hash",
    "drawing_order",
    "file_list_images",
    "find_photos",
    "is_gone",
    "is_on_disk",
    "is_remote",
    "list_categories",
    "list_images",
    "load_drawing",
    "load_photo",
    "load_photo_file",
    "load_photo_uri",
    "load_sketch",
    "match_categories",
    "normalise_sketch",
    "partial",
    "photo_strokes",
    "photos_of_uris",
    "pseudo_sketch",
    "read_drawings",
    "read_photo",
    "render_strokes",
    "source_photos",
    "still_there",
    "strokes_from_quickdraw",
    "unfinished",
    "without_doubles",
]

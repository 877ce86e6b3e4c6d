"""The demo world: photo-like and sketch-like pictures of many categories, drawn from nothing."""

from sbka_milvus.demo.categories import CATEGORIES, CategorySpec
from sbka_milvus.demo.world import World, draw_world

__all__ = ["CATEGORIES", "CategorySpec", "World", "draw_world"]

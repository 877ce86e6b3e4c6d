"""The categories of the demo world, and which of them training never sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sbka_milvus.demo.shapes import (
    animals,
    buildings,
    craft,
    fruits,
    insects,
    plants,
    swimmers,
    things,
    tools,
    vehicles,
    vessels,
)
from sbka_milvus.demo.shapes.kit import Figure, Part


@dataclass(frozen=True, slots=True)
class CategorySpec:
    """One category: a parametric drawing of which no two samples are alike.

    Attributes:
        name: the category, and the name of its folders.
        family: what it is a kind of.
        unseen: whether it is kept from training.
        draw: draws one sample into a figure.
    """

    name: str
    family: str
    unseen: bool
    draw: Callable[[Figure], None]

    def sample(self, rng: np.random.Generator) -> list[Part]:
        """The parts of a new sample, back to front, fitted to the unit box."""
        figure = Figure(rng)
        self.draw(figure)
        return figure.fitted()


_FAMILIES: dict[str, tuple[Callable[[Figure], None], ...]] = {
    "vehicles": (
        vehicles.car,
        vehicles.truck,
        vehicles.locomotive,
        vehicles.pram,
        craft.sailboat,
        craft.aeroplane,
        craft.balloon,
        vehicles.bicycle,
    ),
    "vessels": (
        vessels.cup,
        vessels.jug,
        vessels.vase,
        vessels.watering_can,
        vessels.wineglass,
        vessels.bottle,
        vessels.teapot,
    ),
    "plants": (
        plants.flower,
        plants.tree,
        plants.pine,
        fruits.apple,
        fruits.pear,
        plants.pot_plant,
        plants.palm,
        fruits.pineapple,
        plants.cactus,
        plants.mushroom,
    ),
    "animals": (
        animals.bird,
        animals.snail,
        animals.turtle,
        animals.rabbit,
        animals.cat,
        swimmers.whale,
        swimmers.fish,
    ),
    "insects": (insects.dragonfly, insects.ladybird, insects.butterfly),
    "buildings": (
        buildings.house,
        buildings.castle,
        buildings.windmill,
        buildings.church,
        buildings.tent,
        buildings.lighthouse,
    ),
    "things": (
        things.chair,
        things.table,
        things.lamp,
        things.clock,
        things.hat,
        things.glasses,
        things.bell,
        things.umbrella,
    ),
    "tools": (tools.key, tools.hammer, tools.axe, tools.scissors, tools.guitar, tools.ladder),
}

# One or two of a family: each is built from parts that seen categories have (wheels, spouts, pots, fins, wings,
# towers, panels, stems), and none is a near-copy of a seen one.
_UNSEEN = frozenset({"bicycle", "butterfly", "cactus", "fish", "lighthouse", "mushroom", "teapot", "umbrella"})

CATEGORIES: tuple[CategorySpec, ...] = tuple(
    CategorySpec(draw.__name__, family, draw.__name__ in _UNSEEN, draw)
    for family, members in _FAMILIES.items()
    for draw in members
)
"""All categories, family by family."""

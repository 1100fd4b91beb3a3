"""Walking a network: what each layer hands to the layers inside it."""

from typing import Any, NamedTuple

import jax

from fnn.network.layer import Layer
from fnn.network.parameters import is_untrained

__all__: list[str] = []

Path = tuple[Any, ...]


class Part(NamedTuple):
    """A layer inside another: its place, its own parameters and what it is given, as shapes.

    `origins` says for each array of its own where it is in the outer layer's parameters; None for one that
    was computed from them.
    """

    place: str
    layer: Layer
    params: Any
    x: Any
    origins: tuple[Path | None, ...]

    @property
    def is_frozen(self) -> bool:
        """Whether the outer layer keeps all of its parameters from training."""
        return bool(self.origins) and all(path and is_untrained(path) for path in self.origins)


def parts_inside(layer: Layer, params: Any, x: Any) -> list[Part]:
    """The layers inside a layer, by its `inside`; none where it has none. Nothing is computed."""
    if layer.inside is None:
        return []
    found: list[tuple[str, Layer, tuple[Path | None, ...]]] = []

    def hand_on(params: Any, x: Any) -> list[tuple[Any, Any]]:
        handed = layer.inside(params, x) if layer.inside else []
        found.extend((place, part, origins_of(own, params)) for place, part, own, _ in handed)
        return [(own, given) for _, _, own, given in handed]

    shapes = jax.eval_shape(hand_on, params, x)
    return [
        Part(place, part, own, given, origins) for (place, part, origins), (own, given) in zip(found, shapes)
    ]


def origins_of(own: Any, params: Any) -> tuple[Path | None, ...]:
    """Where each array of a layer's own parameters is in the outer layer's; None where it is not there."""
    paths = {id(leaf): path for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    return tuple(paths.get(id(leaf)) for leaf in jax.tree.leaves(own))


def layers_at(layer: Layer, params: Any, x: Any, path: Path) -> tuple[str, ...]:
    """The layers from the outermost in to which the array at this path of the parameters belongs."""
    for part in parts_inside(layer, params, x):
        if path in part.origins:
            owns = jax.tree_util.tree_leaves_with_path(part.params)
            own = owns[part.origins.index(path)][0]
            return (
                f"{part.place}, {part.layer.name}",
                *layers_at(part.layer, part.params, part.x, own),
            )
    return ()

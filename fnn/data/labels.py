"""Names of classes ↔ ids, and ids → one-hot rows."""

from typing import NamedTuple

import chex
import jax
import numpy as np

from fnn.data.columns import Label, class_ids, class_names, first_few, refuse_cells
from fnn.guard.numbers import check_whole

__all__ = ["Labels", "labels", "one_hot"]


def one_hot(ids: chex.Array, classes: int) -> jax.Array:
    """Each id as a row of zeros with a single one: (…,) whole numbers → (…, classes) floats.

    An id outside 0 … classes − 1 is a ValueError; under `jax.jit`, where ids have no values yet,
    its row is all zeros.

    >>> one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    count = check_whole("one_hot", "classes", classes)
    ids = class_ids(ids, count, "one_hot")
    return jax.nn.one_hot(ids.astype(np.int32), count)  # int8 cannot count to 200 classes


class Labels(NamedTuple):
    """The classes that `labels` found, in the order of their ids."""

    classes: tuple[Label, ...]

    def __call__(self, values: object) -> np.ndarray:
        """Names of classes to int32 ids (n,); one that is none of the classes is a ValueError."""
        ids = {name: place for place, name in enumerate(self.classes)}
        names = class_names(values, "labels")
        known = f"one of the known classes {first_few(self.classes)}"
        fix = "Fix the value, or make labels of all the classes."
        refuse_cells("labels", names, [name not in ids for name in names], known, fix)
        return np.array([ids[name] for name in names], np.int32)

    def inverse(self, ids: chex.Array) -> list[Label]:
        """Ids (n,) back to names of classes; an id that no class has is a ValueError."""
        ids = np.asarray(class_ids(ids, len(self.classes), "labels.inverse"))
        if ids.ndim != 1:
            raise ValueError(f"labels.inverse: expected ids (n,), got the shape {ids.shape}.")
        return [self.classes[place] for place in ids]


def labels(values: object) -> Labels:
    """The classes of a column: numbers by size, texts by alphabet, False before True.

    `values` is a list, an array or a pandas column. Texts are stripped of spaces, as `encode` strips them. No
    rows, a missing value, and texts beside numbers are a ValueError.

    >>> species = labels(["gentoo", "adelie", "gentoo"])
    >>> species.classes, species(["gentoo", "adelie"]).tolist(), species.inverse([0, 1])
    (('adelie', 'gentoo'), [1, 0], ['adelie', 'gentoo'])
    """
    names = class_names(values, "labels")
    kinds = {isinstance(name, str): f"{name!r} in row {row}" for row, name in enumerate(names)}
    if len(kinds) != 1:
        found = " and ".join(kinds.values()) or "no rows"
        raise ValueError(f"labels: expected only texts or only numbers, got {found}.")
    return Labels(tuple(sorted(set(names))))

"""raw columns → arrays: numbers of any size become numbers of mean 0 and standard deviation 1."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_array
from fnn.guard.numbers import check_finite

__all__ = ["Standardizer", "standardize"]


class Standardizer(NamedTuple):
    """The change of scale that `standardize` measured.

        z = (x − μ)/σ        x, z: (…, features)   μ, σ: (features,), or scalars for any x

    Known numbers are computed in float64 NumPy, where a large offset costs no digits. z is then rounded to
    JAX's float; x is not. Traced ones are computed in JAX's float.
    """

    mean: chex.Array
    scale: chex.Array

    def __call__(self, x: chex.Array) -> chex.Array:
        """The z of x; another number of columns than μ has is a ValueError."""
        z = (self._columns(x) - self.mean) / self.scale
        z = z.astype(jnp.result_type(float))
        return jnp.asarray(z) if isinstance(x, jax.Array) else z

    def inverse(self, z: chex.Array) -> chex.Array:
        """The x = σz + μ of z; another number of columns than μ has is a ValueError."""
        return self._columns(z) * self.scale + self.mean

    def _columns(self, x: chex.Array) -> chex.Array:
        x, columns = _wide(as_array(x, "Standardizer: x")), np.shape(self.mean)[-1:]
        if columns and x.shape[-1:] != columns:
            raise ValueError(
                f"Standardizer: made from {columns[0]} columns, but x of shape {x.shape} has "
                f"{x.shape[-1] if x.ndim else 'none'}. Give the same columns in the same order."
            )
        return x


def standardize(x: chex.Array) -> Standardizer:
    """The Standardizer that gives each column of x mean 0 and standard deviation 1.

        μ = mean(x)   σ² = mean((x − μ)²)      x: (…, features)   μ, σ: (features,)

    The means run over all axes but the last; a flat x, such as a target, is one column with
    scalars μ, σ. A column that is constant, or differs by no more than rounding (σ ≤ 2ε|μ|), gets σ = 1,
    and so becomes 0. Known numbers are measured in float64 NumPy, and μ, σ stay so until `jax.jit` narrows
    them; traced ones in JAX's float.
    Measure the training rows only. No rows, NaN and infinity are a ValueError, text is a TypeError.

    >>> heights = standardize([160.0, 170.0, 180.0, 190.0])
    >>> heights.mean.item(), round(heights.scale.item() ** 2, 6)
    (175.0, 125.0)
    >>> heights.inverse(heights([175.0, 190.0])).round(4).tolist()
    [175.0, 190.0]
    """
    x = as_array(x, "standardize: x")
    rounding = float(jnp.finfo(x.dtype).eps) if jnp.issubdtype(x.dtype, jnp.floating) else 0.0
    x = _wide(x)
    if not x.ndim or not x.size:
        raise ValueError(f"standardize: x of shape {x.shape} has no rows to take the mean of.")
    check_finite("standardize: x", x)
    axes = tuple(range(max(x.ndim - 1, 1)))
    origin = x[(0,) * len(axes)]
    shifted = x - origin  # exactly 0 in a constant column, and free of any large offset
    reach = abs(shifted).max(axes)
    reach = reach + (reach == 0)
    unit = shifted / reach  # in −1 … 1, so that its square neither overflows nor vanishes
    mean = unit.mean(axes)
    variance = ((unit - mean) ** 2).mean(axes)
    scale, mean = reach * (variance + (variance == 0)) ** 0.5, origin + reach * mean
    constant = scale <= 2 * rounding * abs(mean)  # and where it is too small to be a float
    return Standardizer(mean, scale + constant * (1 - scale))


def _wide(x: Any) -> Any:
    """Known numbers in float64 NumPy, traced ones in JAX's float."""
    if isinstance(x, jax.core.Tracer):
        return x.astype(jnp.result_type(float))
    return np.asarray(x).astype(np.float64)

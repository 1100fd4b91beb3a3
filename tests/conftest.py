"""A random key is used once, in every test; float64 where a test asks for it."""

from functools import partial

import jax
import pytest

jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def x64():
    """A context manager factory: what runs in `with x64(): ...` has float64."""
    if hasattr(jax, "enable_x64"):
        return partial(jax.enable_x64, True)
    from jax.experimental import enable_x64  # before jax 0.8

    return enable_x64

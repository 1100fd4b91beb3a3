"""What `jit` compares of arguments, and results in shapes that are remembered."""

import jax
import jax.numpy as jnp
import pytest

from fnn.workflow.shapes import shaped


def test_a_result_is_remembered_for_the_same_static_argument_and_the_same_shapes():
    calls = []

    @shaped
    def outputs(static, x, y):
        """What it does."""
        calls.append(static)
        return jax.eval_shape(jnp.add, x["a"], y)

    assert outputs.__doc__ == "What it does."
    for number in (1.0, 2.0):
        assert outputs("s", {"a": jnp.full((2, 3), number)}, jnp.zeros(3)).shape == (2, 3)
    assert calls == ["s"]
    outputs("t", {"a": jnp.zeros((2, 3))}, jnp.zeros(3))
    outputs("s", {"a": jnp.zeros((4, 3))}, jnp.zeros(3))
    outputs("s", {"a": jnp.zeros((2, 3), int)}, jnp.zeros(3))
    assert len(calls) == 4


def test_what_cannot_be_hashed_is_computed_each_time():
    calls = []

    @shaped
    def rows(static, x):
        calls.append(static)
        return x.shape[0]

    assert [rows(["a list"], jnp.zeros(5)), rows(["a list"], jnp.zeros(5))] == [5, 5]
    assert len(calls) == 2


def test_an_exception_is_not_remembered():
    calls = []

    @shaped
    def refuse(static, x):
        calls.append(static)
        raise TypeError("no")

    for _ in range(2):
        with pytest.raises(TypeError, match="no"):
            refuse("s", jnp.zeros(5))
    assert len(calls) == 2

"""Laws of rules and chains, over random trees of parameters and gradients of any size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

clip, decay, chain = fnn.clip_by_global_norm, fnn.weight_decay, fnn.chain

SHAPES = [(), (3,), (2, 2), (0,)]  # few: each is compiled once
NAMES = ["weight", "bias", "a", "b"]


def over_trees(law):
    """The test that a law holds for parameters and three gradients of the same random tree, of any size."""

    def test():
        hypothesis = pytest.importorskip("hypothesis", reason="hypothesis draws the trees")
        st = hypothesis.strategies
        several = lambda each: st.dictionaries(st.sampled_from(NAMES), each, max_size=3)
        row = lambda each: st.lists(each, max_size=3).map(tuple)
        leaves = st.one_of(
            st.none(), st.sampled_from([jax.ShapeDtypeStruct(own, "float32") for own in SHAPES])
        )
        trees = st.recursive(leaves, lambda each: several(each) | row(each), max_leaves=5)

        @hypothesis.settings(derandomize=True, deadline=None, max_examples=25, database=None)
        @hypothesis.given(several(trees), st.integers(0, 2**32 - 1), st.integers(-12, 12))
        def check(tree, seed, power):
            draw = np.random.default_rng(seed)
            numbers = lambda leaf: jnp.asarray(10.0**power * draw.normal(size=leaf.shape), leaf.dtype)
            with jax.debug_key_reuse(False):  # it has no keys, and each operation is faster so
                law(*(jax.tree.map(numbers, tree) for _ in range(4)))

        check()

    test.__name__ = law.__name__
    return test


def updates_of(rule, params, *gradients):
    """The updates of one gradient after the other."""
    state, updates = rule.init(params), []
    for grads in gradients:
        update, state = rule.update(grads, state, params)
        params = fnn.apply_updates(params, update)
        updates.append(update)
    return updates


def same(one, other, *trees):
    jax.tree.map(np.testing.assert_array_equal, updates_of(one, *trees), updates_of(other, *trees))


@over_trees
def test_without_momentum_it_is_gradient_descent(*trees):
    same(fnn.momentum(0.1, momentum=0.0), fnn.gradient_descent(0.1), *trees)
    same(fnn.nesterov(0.1, momentum=0.0), fnn.gradient_descent(0.1), *trees)


@over_trees
def test_without_decay_adamw_is_adam(*trees):
    same(fnn.adamw(0.1, weight_decay=0.0), fnn.adam(0.1), *trees)
    same(chain(fnn.adam(0.1), decay(0.0)), fnn.adam(0.1), *trees)


@over_trees
def test_chains_associate(*trees):
    first, second, third = clip(1.0), fnn.adam(0.1), decay(0.1)
    flat = chain(first, second, third)
    same(chain(chain(first, second), third), flat, *trees)
    same(chain(first, chain(second, third)), flat, *trees)


@over_trees
def test_clipping_is_idempotent_and_leaves_what_is_short(*trees):
    link = clip(1.0)
    once = updates_of(link, *trees)
    twice = updates_of(chain(link, link), *trees)
    norms = lambda trees: [np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(g))) for g in trees]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), twice, once)
    for grads, clipped, before, after in zip(trees[1:], once, norms(trees[1:]), norms(once)):
        np.testing.assert_allclose(after, min(before, 1.0), rtol=1e-5)
        if before < 0.999:
            jax.tree.map(np.testing.assert_array_equal, clipped, grads)

"""A random order computed place by place: a bijection for every number of rows, and each order equally likely."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data.shuffle import bijection, round_keys, shuffle, sides

WORDS = np.random.default_rng(0).integers(0, 2**32, (200_000, 2), np.uint32)


def keys(places=slice(None)):
    """New keys of these words: each key is used once."""
    return jax.random.wrap_key_data(WORDS[places])


# The formula once more, in Python's integers ------------------------------------------------------


def mixed(x):
    x = ((x ^ x >> 16) * 0x7FEB352D) % 2**32
    x = ((x ^ x >> 15) * 0x846CA68B) % 2**32
    return x ^ x >> 16


def steps_of(words, n):
    """The two sides, and for each step its number."""
    root = math.ceil(math.sqrt(n))
    best = min(
        (a * math.ceil(n / a), a) for a in range(root, root + root // 4 + 2) if a % 2 == 0
    )  # the smallest rectangle, then the smaller side
    numbers = [i * 0x9E3779B9 % 2**32 for i in range(24 if n < 64 else 8)]
    for word in words:
        numbers = [mixed((number + word) % 2**32) for number in numbers]
    return best[1], best[0] // best[1], numbers


def row_at(place, words, n):
    a, b, numbers = steps_of(words, n)
    row = place
    while True:
        left, right = divmod(row, b)
        for i, number in enumerate(numbers):
            if i % 2 == 0:
                left = (left + mixed((right + number) % 2**32) // 2) % a
            else:
                right = (right + mixed((left + number) % 2**32) // 2) % b
        row = left * b + right
        if row < n:
            return row


def place_of(row, words, n):
    """The inverse: the steps backwards, each subtracted."""
    a, b, numbers = steps_of(words, n)
    place = row
    while True:
        left, right = divmod(place, b)
        for i, number in reversed(list(enumerate(numbers))):
            if i % 2 == 0:
                left = (left - mixed((right + number) % 2**32) // 2) % a
            else:
                right = (right - mixed((left + number) % 2**32) // 2) % b
        place = left * b + right
        if place < n:
            return place


LARGE = [
    2**power + more for power in (13, 16, 20, 24, 30, 31) for more in (-1, 0, 1) if power < 31 or more < 1
]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 23, 63, 64, 65, 1437, *LARGE])
def test_a_row_is_what_the_formula_says_and_its_place_is_found_again(n):
    words = WORDS[n % 1000].tolist()
    places = np.unique(np.random.default_rng(n).integers(0, n, 200))
    rows = np.asarray(jax.jit(lambda key, places: shuffle(key, n)(places))(keys(n % 1000), places))
    assert rows.tolist() == [row_at(place, words, n) for place in places.tolist()]
    assert [place_of(row, words, n) for row in rows.tolist()] == places.tolist()


@pytest.mark.parametrize(("first", "last", "steps"), [(1, 63, 24), (64, 1000, 8), (1001, 5000, 8)])
def test_it_is_a_bijection_for_every_number_of_rows_to_5000(first, last, steps):
    numbers = np.arange(first, last + 1)
    a, b = np.array([sides(int(n)) for n in numbers]).T
    beyond = int((a * b - numbers).max())

    @jax.jit
    def is_bijection(keys, numbers, a, b):
        def one(case):
            key, n, a, b = case
            places = jnp.arange(last)
            rows = bijection(round_keys(key, steps), n, a, b, beyond)(jnp.minimum(places, n - 1))
            return (jnp.zeros(last, bool).at[rows].set(True) == (places < n)).all()

        return jax.lax.map(one, (keys, numbers, a, b))

    assert np.all(is_bijection(keys(slice(first, last + 1)), numbers, a, b))


def test_the_sides_are_near_each_other_and_leave_little():
    for n in [*range(1, 5000), *LARGE]:
        a, b = sides(n)
        assert a * b >= n and a % 2 == 0 and (b > 1 or n <= 2) and a <= 2 * b + 2
        assert a * b - n <= max(8, n / 10) and (n < 2**13 or a * b - n < 50)


# Chance -------------------------------------------------------------------------------------------


def surprise(codes, possible):
    """How many deviations χ² lies above its mean, if each of so many outcomes is equally likely."""
    expected = len(codes) / possible
    _, counts = np.unique(codes, return_counts=True)
    chi2 = ((counts - expected) ** 2).sum() / expected + (possible - len(counts)) * expected
    return (chi2 - (possible - 1)) / math.sqrt(2 * (possible - 1))


def orders(n, places=None, steps=None):
    """The rows at these places for each key, (200,000, places)."""
    places = np.arange(n) if places is None else np.array(places)
    a, b = sides(n)

    @jax.jit
    @jax.vmap
    def rows(key):
        order = shuffle(key, n) if steps is None else bijection(round_keys(key, steps), n, a, b, a * b - n)
        return order(places)

    return np.asarray(rows(keys())).astype(np.int64)


def code(rows, n):
    """A number for each tuple of rows."""
    return rows @ n ** np.arange(rows.shape[1])


@pytest.mark.parametrize("n", range(2, 8))
def test_all_orders_of_a_few_rows_are_equally_likely(n):
    assert abs(surprise(code(orders(n), n), math.factorial(n))) < 5


@pytest.mark.parametrize("n", range(8, 13))
def test_any_four_places_hold_any_rows_equally_often(n):
    rows = orders(n)
    for places in ([0, 1, 2, 3], [n - 4, n - 3, n - 2, n - 1], [0, n // 2, 3, n - 1]):
        assert abs(surprise(code(rows[:, places], n), math.perm(n, 4))) < 5
    if n == 8:  # all orders: 40,320, each five times
        assert abs(surprise(code(rows, n), math.factorial(n))) < 5


@pytest.mark.parametrize("n", [64, 100, 1450, 100_000])
def test_places_neighbours_and_pairs_are_uniform(n):
    last = n - 1
    rows = orders(n, [0, 1, 2, n // 2, last - 1, last])
    parts = rows * 50 // n  # of many rows, 50 parts of one size
    for first, second in itertools.combinations(range(6), 2):
        if n <= 100:
            assert abs(surprise(code(rows[:, [first, second]], n), n * (n - 1))) < 5
        else:
            assert abs(surprise(code(parts[:, [first, second]], 50), 2500)) < 6
        apart = (rows[:, second] - rows[:, first]) % n
        assert apart.min() > 0
        if n <= 2000:
            assert abs(surprise(apart, n - 1)) < 5


def test_the_orders_of_epochs_that_follow_each_other_are_independent():
    @jax.jit
    @jax.vmap
    def rows(key):
        return jnp.stack([shuffle(jax.random.fold_in(key, epoch), 1000)(jnp.arange(3)) for epoch in range(3)])

    found = np.asarray(rows(keys())) // 20
    for first, second in itertools.combinations(range(9), 2):
        a, b = found[:, first // 3, first % 3], found[:, second // 3, second % 3]
        assert abs(surprise(50 * a + b, 2500)) < 6


def test_fewer_steps_are_found_out():
    assert surprise(code(orders(6, steps=8), 6), 720) > 50
    assert surprise(code(orders(100, [0, 1], steps=4), 100), 9900) > 10


def test_other_keys_give_other_orders_whatever_their_kind():
    places = jnp.arange(1000)
    order = np.asarray(shuffle(keys(0), 1000)(places))
    assert not np.array_equal(order, shuffle(keys(1), 1000)(places))
    np.testing.assert_array_equal(order, shuffle(WORDS[0], 1000)(places))
    last = np.full(4, 7, np.uint32)
    first, second = (
        jax.random.wrap_key_data(last + np.eye(4, dtype=np.uint32)[i], impl="rbg") for i in (0, 3)
    )
    assert not np.array_equal(shuffle(first, 1000)(places), shuffle(second, 1000)(places))

"""What care costs: fit beside a hand-written scan of the same step, the checks of its input beside an epoch, and
train with its finite check beside the same without; and how soon Ctrl-C returns the run.

Medians of repeated runs, warm, blocked on, the two taken in turn.
"""

import os
import random
import signal
import statistics
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import fnn
from fnn.data.shuffle import shuffle
from fnn.run.arguments import check_course, check_parts, check_start
from fnn.run.fit import read_setting
from fnn.run.rehearsal import rehearse
from fnn.workflow.state import stays_finite

COST, RULE = fnn.softmax_cross_entropy, fnn.adam()


def digits():
    x, y = load_digits(return_X_y=True)
    return (
        (x / 16).astype(np.float32),
        y.astype(np.int32),
        fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10)),
        32,
    )


def images(times=1):
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(8192, 784)).astype(np.float32), draw.integers(0, 10, 8192).astype(np.int32)
    x, y = np.tile(x, (times, 1)), np.tile(y, times)
    layers = fnn.dense(512), jax.nn.relu, fnn.dense(512), jax.nn.relu, fnn.dense(10)
    return x, y, fnn.serial(*layers), 128


def by_hand(network, batch_size):
    """The same epochs as one compiled scan, without history, finite check, or a host between them."""

    def run(state, x, y, epochs):
        def turn(state, place, order, key, size):
            rows = order(place * batch_size + jnp.arange(size))
            return fnn.step(network, COST, RULE, state, x[rows], y[rows], jax.random.fold_in(key, place))[0]

        def epoch(_, state):
            key = jax.random.fold_in(state.key, state.epoch)
            order, whole = shuffle(key, len(x)), len(x) // batch_size
            one = lambda state, place: (turn(state, place, order, key, batch_size), None)
            state, _ = jax.lax.scan(one, state, jnp.arange(whole))
            if len(x) % batch_size:
                state = turn(state, whole, order, key, len(x) % batch_size)
            return state._replace(epoch=state.epoch + 1)

        return jax.lax.fori_loop(0, epochs, epoch, state)

    return jax.jit(run)


def checks(network, x, y, batch_size, key):
    check_course(1, None, None, None, None)
    check_start(key, None, None)
    check_parts("fit", network, COST, RULE, None, batch_size)
    setting, _ = read_setting(network, COST, RULE, None, batch_size, x, y, None, None, None)
    rehearse(setting, (key, None), None)


def seconds(call):
    clock = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - clock


def measure(name, x, y, network, batch_size, epochs, repeats):
    key, run = jax.random.key(0), by_hand(network, batch_size)
    on_device = jax.device_put((x, y))
    start = lambda: fnn.start(network, RULE, jnp.zeros((batch_size, x.shape[1])), key=key)
    state = start()
    calls = {
        "hand": lambda: run(state, *on_device, epochs),
        "fit": lambda: (
            fnn.fit(network, COST, RULE, x, y, state=state, epochs=epochs, batch_size=batch_size).state
        ),
    }
    times = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for which, call in calls.items():
            taken = seconds(call)
            times[which] += [taken] if turn else []
    hand, fit = (statistics.median(times[which]) for which in ("hand", "fit"))
    checks(network, x, y, batch_size, key)
    checked = statistics.median(seconds(lambda: checks(network, x, y, batch_size, key)) for _ in range(50))
    ratio = statistics.median(f / h for f, h in zip(times["fit"], times["hand"]))
    print(
        f"{name}: {epochs} epochs by hand {hand:.3f} s, fit {fit:.3f} s, ratio {ratio:.3f}; "
        f"checks {1e6 * checked:.0f} µs, {100 * checked / (hand / epochs):.2f} % of an epoch"
    )


def finite_check(name, x, y, network, batch_size, epochs, repeats, cost=COST):
    """`train` and a look at the state it returns, and the same program with every look at the numbers left out."""
    training = sys.modules["fnn.workflow.epochs"]
    looks = {name: getattr(training, name) for name in ("costs_are_finite", "still_finite")}

    def compiled(checked):
        def run(state, x, y):
            after, history = fnn.train(network, cost, RULE, state, x, y, epochs=epochs, batch_size=batch_size)
            sound = (
                looks["costs_are_finite"](history, epochs) & stays_finite(state, after) if checked else True
            )
            return after, history, sound

        for look, function in looks.items():
            setattr(training, look, function if checked else lambda *args: jnp.bool_(True))
        try:
            return jax.jit(run).lower(state, *on_device).compile()
        finally:
            for look, function in looks.items():
                setattr(training, look, function)

    on_device = jax.device_put((x, y))
    state = fnn.start(network, RULE, x, key=jax.random.key(0))
    runs, ratios, plain = {checked: compiled(checked) for checked in (True, False)}, [], []
    for turn in range(repeats + 1):
        with_it, without = (seconds(lambda run=run: run(state, *on_device)) for run in runs.values())
        ratios += [with_it / without] if turn else []
        plain += [without] if turn else []
    print(
        f"{name}: without the check {statistics.median(plain):.3f} s, with it {statistics.median(ratios):.3f} ×"
    )


def ctrl_c(name, x, y, network, batch_size, presses):
    """Seconds from the key, pressed at random moments of a run that would not end, to the run returned."""
    before, waits = signal.signal(signal.SIGINT, signal.default_int_handler), []
    begin = lambda epochs: fnn.fit(
        network, COST, RULE, x, y, key=jax.random.key(0), epochs=epochs, batch_size=batch_size
    )
    begin(1)  # compiled, and the data there
    epoch = seconds(lambda: begin(2).state) / 2
    for _ in range(presses):
        pressed = []

        def press(pressed=pressed):
            pressed.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(1 + random.uniform(0, 3), press).start()
        assert begin(10**6).stopped == "interrupted"
        waits.append(time.perf_counter() - pressed[0])
        time.sleep(2 * epoch)  # what was left to end in the background ends
    signal.signal(signal.SIGINT, before)
    middle = statistics.median(waits)
    print(f"{name}: an epoch {epoch:.3f} s, Ctrl-C after {middle:.3f} s, at most {max(waits):.3f} s")


measure("64-64-10 on digits, batch 32", *digits(), epochs=50, repeats=15)
measure("784-512-512-10, 8192 rows, batch 128", *images(), epochs=5, repeats=5)
finite_check("64-64-10 on digits, batch 32", *digits(), epochs=50, repeats=15)
finite_check("64-64-10 on digits, full batch", *digits()[:3], batch_size=1797, epochs=1000, repeats=15)
finite_check("784-512-512-10, 8192 rows, batch 128", *images(), epochs=5, repeats=5)
xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
small = fnn.serial(fnn.dense(8), jnp.tanh, fnn.dense(1))
finite_check("2-8-1, full batch", xor, xor[:, :1], small, 32, epochs=100_000, repeats=31, cost=fnn.mse)
ctrl_c("64-64-10 on digits, batch 32", *digits(), presses=20)
ctrl_c("64-64-10 on digits, batch 1", *digits()[:3], batch_size=1, presses=20)
ctrl_c("784-512-512-10, 8192 rows, batch 128", *images(), presses=20)
ctrl_c("784-512-512-10, 131072 rows, batch 128", *images(16), presses=20)

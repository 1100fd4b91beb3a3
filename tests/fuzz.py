"""Strange input, for so many seconds: python tests/fuzz.py reader 600

The targets are the reader of checkpoints, the encoder of tables, and the arguments of fit; each says what must
hold. Hypothesis draws the inputs and shows the smallest one that fails; with --coverage atheris changes those
that reached new branches of fnn's (pip install atheris). Each says how many were tried.
"""

import argparse
import importlib
import os
import pathlib
import random
import sys
import tempfile
import time
import warnings

TARGETS = ("reader", "encoder", "arguments")


def as_test(name):
    """The test of a target, as Hypothesis runs it, and a list that grows with each input."""
    test = getattr(importlib.import_module(f"fuzz_{name}"), name)
    inner, tried = test.hypothesis.inner_test, []

    def counted(*args, **kwargs):
        tried.append(None)
        inner(*args, **kwargs)

    test.hypothesis.inner_test = counted
    return test, tried


def drawn(name, seconds):
    """Hypothesis draws a thousand inputs by one seed, then by the next."""
    import hypothesis

    test, tried = as_test(name)
    health = [*hypothesis.HealthCheck]
    options = dict(max_examples=1000, deadline=None, database=None, suppress_health_check=health)
    test = hypothesis.settings(**options)(test)
    begin = seed = int(time.time())
    while time.time() < begin + seconds:
        hypothesis.seed(seed)(test)()
        seed += 1
    print(f"{name}, drawn: {len(tried)} inputs in {time.time() - begin:.0f} s, no fault")


def covered(name, seconds):
    """Atheris changes bytes that Hypothesis makes inputs of, and keeps those that reach a new branch."""
    import atheris

    with atheris.instrument_imports(include=["fnn", "zipfile", "numpy.lib._format_impl"]):
        importlib.import_module("fnn")
    test, tried = as_test(name)
    begin = time.time()

    def one(content):
        test.hypothesis.fuzz_one_input(content)
        if time.time() > begin + seconds:  # libFuzzer leaves without a word
            print(f"{name}, by coverage: {len(tried)} inputs in {seconds} s, no fault", flush=True)
            os._exit(0)

    with tempfile.TemporaryDirectory() as corpus:
        for place in range(64):
            pathlib.Path(corpus, str(place)).write_bytes(random.Random(place).randbytes(64 << place % 7))
        atheris.Setup(
            [sys.argv[0], corpus, "-max_len=8192", "-rss_limit_mb=8192", "-timeout=100", "-verbosity=1"], one
        )
        atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--coverage", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    (covered if given.coverage else drawn)(given.target, given.seconds)

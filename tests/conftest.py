"""A random key is used once, in every test; float64 where a test asks for it; programs compiled lightly."""

import os
import subprocess
import sys
from functools import partial

# Thousands of tiny programs are compiled here, and each is run a few times: compiled lightly, the tests take half
# as long. XLA_FLAGS= (empty, or flags of your own) compiles as users do, which .ci/run does too.
LIGHTLY = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)


def _is_known(flags):
    """Whether this version of XLA knows the flags: it ends a process that brings one that it does not know."""
    program = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(program, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True)
    return done.returncode == 0


if "XLA_FLAGS" not in os.environ:  # the processes of pytest-xdist find it set
    os.environ["XLA_FLAGS"] = LIGHTLY if _is_known(LIGHTLY) else ""

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_traceback_in_locations_limit", 0)  # no lines of source in programs: 13 % of the time


@pytest.fixture
def x64():
    """A context manager factory: what runs in `with x64(): ...` has float64."""
    if hasattr(jax, "enable_x64"):
        return partial(jax.enable_x64, True)
    from jax.experimental import enable_x64  # before jax 0.8

    return enable_x64

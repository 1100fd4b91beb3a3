"""A short slice of tests/fuzz.py: the same inputs each time, drawn by Hypothesis."""

import warnings

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis draws the inputs")
pytest.importorskip("pandas", reason="tables are drawn as frames too")
pytestmark = pytest.mark.slow

from fuzz import TARGETS, as_test  # noqa: E402

EXAMPLES = {"reader": 500, "encoder": 500, "arguments": 150}


@pytest.mark.parametrize("target", TARGETS)
def test_strange_input_is_taken_or_refused_in_words(target):
    test, tried = as_test(target)
    health = [*hypothesis.HealthCheck]
    options = dict(max_examples=EXAMPLES[target], deadline=None, database=None, suppress_health_check=health)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy and pandas, about what is made here
        hypothesis.settings(**options, derandomize=True)(test)()
    assert len(tried) >= EXAMPLES[target]

"""Entropic transport against OTT-JAX's values and POT's exact costs (generate_transport.py)."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from theorylab import transport

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import digest  # noqa: E402
from transport_problems import CASES, PROBLEMS, build, checksum  # noqa: E402

pytestmark = pytest.mark.slow

SOURCES = (here / "generate_transport.py", here / "transport_problems.py")


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "transport_peers.npz", allow_pickle=False) as file:
        return dict(file)


@cache
def solved(name, epsilon):
    cost, a, b = build(name)
    return transport.solve(cost, a, b, epsilon=epsilon)


def test_the_file_was_made_by_the_sources_that_stand_here(stored):
    assert str(stored["digest"]) == digest(*SOURCES)
    assert {v.split("==")[0] for v in stored["versions"]} == {"ott-jax", "POT", "jax", "numpy"}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_problems_are_those_that_the_peers_solved(stored, name):
    np.testing.assert_allclose(checksum(*build(name)), stored[f"{name}/checksum"], rtol=1e-11)


@pytest.mark.parametrize(("name", "epsilon"), CASES)
def test_the_value_is_the_one_of_ott(stored, x64, name, epsilon):
    solution = solved(name, epsilon)
    assert bool(solution.converged)
    # Both are dual values, so their errors are of second order in those of the marginals.
    np.testing.assert_allclose(solution.value, stored[f"{name}/{epsilon:g}/ott"], rtol=1e-11)


@pytest.mark.parametrize(("name", "epsilon"), CASES)
def test_the_plan_is_the_one_of_ott(stored, x64, name, epsilon):
    cost = build(name)[0]
    f, g = (stored[f"{name}/{epsilon:g}/{key}"] for key in "fg")
    theirs = np.exp((f[:, None] + g - cost) / epsilon)
    assert np.abs(solved(name, epsilon).plan() - theirs).sum() <= 1e-7


@pytest.mark.parametrize(("name", "epsilon"), CASES)
def test_a_rounded_plan_costs_no_less_than_the_exact_one_and_not_much_more(
    stored, x64, name, epsilon
):
    solution, exact = solved(name, epsilon), stored[f"{name}/emd"]
    _, spent = solution.round()
    assert spent >= exact * (1 - 1e-12)
    assert spent <= exact + epsilon * np.log(solution.f.size * solution.g.size)

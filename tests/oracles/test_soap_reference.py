"""Our NumPy transcription of SOAP against the numbers of its authors' program."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from soap_cases import ARBITRARY, CLOSED, STRICT, load, loop  # noqa: E402
from soap_reference import merged, run  # noqa: E402


@pytest.mark.parametrize("case", [*STRICT, *ARBITRARY])
def test_every_call_of_the_reference_program_is_met_to_twelve_digits(case):
    options, tensors = load(case)
    for t in tensors.values():
        bases = t.bases if case in ARBITRARY else None
        path, end = run(t.init, t.grads, len(t.grads), bases, **options)
        assert np.abs(path - t.float64).max() <= 1e-12
        # The signs of columns are LAPACK's; sums over many calls have lost a digit or two.
        assert np.abs(end.v - t.v).max() <= 1e-11
        assert np.abs(np.abs(end.m) - np.abs(t.m)).max() <= 1e-11
        for factor, theirs in zip(end.factors, t.factors, strict=True):
            assert (factor is None) == (theirs is None)
            assert factor is None or np.abs(factor - theirs).max() <= 1e-11


def test_a_gradient_that_repeats_itself_is_met_as_far_as_round_off_lets_it():
    # Call 2 sees the gradient of call 1, whose rotation is diagonal but for round-off: 1e-16 / eps.
    options, tensors = load(CLOSED)
    (t,), gradient = tensors.values(), loop()
    path, _ = run(t.init, lambda _, x: gradient(x), len(t.float64) - 1, **options)
    gap = np.abs(path - t.float64)
    assert gap[:2].max() == 0
    assert 1e-13 < gap.max() <= 1e-6  # 5e-9 seen, and 4e-8 of the same program elsewhere


def test_merging_takes_neighbours_from_the_left_while_they_fit():
    assert merged((2, 3, 6), 6) == [6, 6]
    assert merged((6, 1, 6), 6) == [6, 6]
    assert merged((7, 2, 2, 7), 4) == [7, 4, 7]  # what does not fit stands alone
    assert merged((2, 7, 2), 4) == [2, 7, 2]
    assert merged((2, 3, 5), 100) == [30]
    assert merged((2, 1, 1), 2) == [2]
    assert merged((1, 1), 4) == [1]

"""The intrinsic dimension against curves whose crossing is known, and the bootstrap's exact law."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import subspace

DS = [10, 50, 100, 200, 300]


def test_the_first_dimension_whose_mean_reaches_the_threshold_is_found():
    accuracy = np.array([[0.2, 0.5, 0.80, 0.93, 0.95], [0.1, 0.4, 0.96, 0.91, 0.97]])
    assert subspace.dint(DS, accuracy, 0.95).value == 100  # 0.88 >= 0.855
    assert subspace.dint(DS, accuracy, 1.0).value == 200  # 0.92 >= 0.90
    assert subspace.dint(DS, accuracy, 0.95, fraction=1.0).value == 300
    assert subspace.dint(DS, accuracy, [0.9, 1.0]).value == 100  # the mean baseline


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reaching_is_at_least_and_rounding_does_not_decide(dtype):
    right = np.array([[449, 450], [449, 450]])
    assert subspace.dint([1, 2], (right / 500).astype(dtype), 1.0).value == 2
    below = np.array([[0.1, 0.9 - 1e-5]], dtype)
    with pytest.warns(UserWarning, match="below the threshold of 0.9: .* is 0.89999"):
        assert subspace.dint([1, 2], below, 1.0).censored


def test_a_tie_is_one_of_float32_whatever_the_dtype():
    narrow = [0.5, float(np.float32(0.9))]
    assert narrow[1] < 0.9
    assert subspace.dint([1, 2], narrow, 1.0).value == 2
    half = jnp.array([0.5, 0.88, 0.9, 0.91], jnp.bfloat16)  # 0.9 is 0.8984 there
    assert subspace.dint([1, 2, 3, 4], half, 1.0).value == 4


def test_interpolation_inverts_the_line_between_grid_points():
    ds = np.array(DS)
    for slope in (0.002, 0.004):
        line = slope * ds[None]
        found = subspace.dint(ds, line, 0.5, fraction=0.5, rule="interp")
        np.testing.assert_allclose(found.value, 0.25 / slope, rtol=1e-12)
    exact = subspace.dint([10, 20], [[0.5, 0.9]], 1.0, rule="interp")
    np.testing.assert_allclose(exact.value, 20)


def test_published_readings_come_back():
    # Points of two published tables: 0.885 between 100 and 200, 0.825 between 400 and 500.
    first = subspace.dint([50, 100, 200], [0.63, 0.81, 0.929], 0.885 / 0.9, rule="interp")
    second = subspace.dint([300, 400, 500], [0.787, 0.820, 0.831], 0.825 / 0.9, rule="interp")
    assert 160 < first.value < 167
    assert 440 < second.value < 460


def test_a_threshold_that_is_not_reached_gives_nan_and_never_the_last_dimension():
    accuracy = np.full((3, 5), 0.5)
    for rule in ("first", "interp"):
        with pytest.warns(UserWarning, match="ends at d = 300 below .* 0.9: .* accuracy is 0.5"):
            found = subspace.dint(DS, accuracy, 1.0, rule=rule)
        assert found.censored
        assert np.isnan(found.value)
        assert np.isnan(found.low)
        assert np.isinf(found.high)


def test_draws_that_do_not_reach_the_threshold_leave_the_interval_open():
    accuracy = np.array([[0.1, 0.91], [0.1, 0.93], [0.1, 0.89]])
    found = subspace.dint([1, 2], accuracy, 1.0)
    assert (found.value, found.low, found.high, found.censored) == (2, 2, np.inf, False)


def test_the_interval_is_that_of_the_exact_law_of_a_draw():
    # Runs are drawn independently for each d: P(d_int = d_j) = p_j prod_{i<j} (1 - p_i).
    accuracy = 0.9 + 0.01 * np.random.default_rng(0).integers(-3, 2, (20, 5))
    reach = (accuracy >= 0.9 - 1e-9).mean(0)
    law = np.cumsum(reach * np.cumprod(np.concatenate([[1], 1 - reach[:-1]])))
    assert 0.05 < law[0] < 0.9
    assert law[-2] < 0.97
    with pytest.warns(UserWarning, match="the grid ends"):  # the mean does not get there
        found = subspace.dint(DS, accuracy, 1.0, bootstrap=20_000)
    for edge, value in ((0.025, found.low), (0.975, found.high)):
        exact = DS[int(np.searchsorted(law, edge))] if law[-1] > edge else np.inf
        assert value == exact


def test_a_baseline_of_several_runs_widens_the_interval():
    accuracy = np.stack([np.linspace(0.5, 1.0, 51) + shift for shift in (0.0, 1e-6)])
    one = subspace.dint(range(1, 52), accuracy, 0.9)
    many = subspace.dint(range(1, 52), accuracy, [0.8, 1.0])
    assert one.value == many.value
    assert many.high - many.low > 10 + one.high - one.low


def test_the_default_key_is_key_zero_and_keys_matter():
    rng = np.random.default_rng(1)
    accuracy = np.linspace(0.5, 1, 40) + 0.1 * rng.standard_normal((5, 40))
    ds = range(1, 41)
    options = {"rule": "interp", "bootstrap": 20}
    default = subspace.dint(ds, accuracy, 1.0, **options)
    assert default == subspace.dint(ds, accuracy, 1.0, key=jax.random.key(0), **options)
    assert default != subspace.dint(ds, accuracy, 1.0, key=jax.random.key(1), **options)


def test_one_run_has_no_interval():
    for accuracy in ([0.1, 0.95], [[0.1, 0.95]]):
        found = subspace.dint([1, 2], accuracy, 1.0)
        assert found.value == 2
        assert np.isnan([found.low, found.high]).all()
    found = subspace.dint([1, 2], [[0.1, 0.95], [0.2, 0.96]], 1.0, bootstrap=0)
    assert np.isnan([found.low, found.high]).all()


def test_a_failed_run_never_reaches_anything():
    accuracy = np.array([[0.1, np.nan, 0.95], [0.1, 0.99, 0.95]])
    assert subspace.dint([1, 2, 3], accuracy, 1.0).value == 3
    assert subspace.dint([1, 2, 3], accuracy, 1.0, rule="interp").value == 3
    for failed in (accuracy[:, :2], np.full((2, 3), np.nan)):
        with pytest.warns(UserWarning, match="below the threshold of 0.9: ") as told:
            found = subspace.dint(range(1, 1 + failed.shape[1]), failed, 1.0, rule="interp")
        assert found.censored
        assert len(told) == 1  # and no warning of NumPy's
    # Where two runs of the mean failed next to each other.
    accuracy = np.array([[np.nan, np.nan, 0.95], [0.1, 0.95, 0.95]])
    assert subspace.dint([1, 2, 3], accuracy, 1.0, rule="interp").value == 3


def test_both_thresholds_are_reported_together():
    rng = np.random.default_rng(2)
    accuracy = np.minimum(np.linspace(0.5, 1, 5) + 0.05 * rng.standard_normal((4, 5)), 1)
    both = subspace.dint_both(DS, accuracy, [0.96, 0.98])
    assert both.absolute == subspace.dint(DS, accuracy, 1.0)
    assert both.relative == subspace.dint(DS, accuracy, [0.96, 0.98])
    np.testing.assert_allclose(both.thresholds, (0.9, 0.9 * 0.97))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        subspace.dint_both([1, 2], [0.5, 0.88], 0.9)
        subspace.dint_both([1, 2], [0.5, 0.6], 0.9)
    assert [str(one.message).count("below the threshold") for one in told] == [1, 2]
    with pytest.raises(ValueError, match="at most 1 for an absolute threshold"):
        subspace.dint_both([1, 2], [[50.0, 97.0]], 98.0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([2, 1], [0.1, 0.2], 1.0), {}, "strictly increasing"),
        (([1, 2], [0.1, 0.2, 0.3], 1.0), {}, "accuracy must be"),
        (([1, 2], [[[0.1, 0.2]]], 1.0), {}, "accuracy must be"),
        (([1, 2], [0.1, np.inf], 1.0), {}, "accuracy must be finite"),
        (([1, 2], [0.1, 0.2], 0.0), {}, "baseline must be finite, and positive"),
        (([1, 2], [0.1, 0.2], [np.nan, 1.0]), {}, "baseline must be finite"),
        (([1, 2], [0.1, 0.2], [[1.0]]), {}, "baseline must be a number or"),
        (([1, 2], [0.1, 0.2], 1.0), {"fraction": 0.0}, "fraction must lie"),
        (([1, 2], [0.1, 0.2], 1.0), {"fraction": 90}, "fraction must lie"),
        (([1, 2], [0.1, 0.2], 1.0), {"rule": "last"}, "rule must be"),
        (([1, 2], [0.1, 0.2], 1.0), {"bootstrap": -1}, "bootstrap must be"),
        (([1, 2], [[0.1, 0.2]] * 2, 1.0), {"key": 3}, "key must be a typed key"),
    ],
)
def test_bad_input_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        subspace.dint(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 2], [0.1j, 0.2], 1.0), {}, "accuracy must be real numbers, got complex128"),
        (([1, 2], ["0.1", "0.2"], 1.0), {}, "accuracy must be real numbers"),
        (([1, 2], [0.1, 0.2], None), {}, "baseline must be real numbers"),
        (([1, 2], [0.1, 0.2], 1.0), {"fraction": None}, "fraction must be real numbers"),
        (([1, 2], [0.1, 0.2], 1.0), {"fraction": "0.9"}, "fraction must be real numbers"),
    ],
)
def test_what_is_no_real_number_is_refused(arguments, options, message):
    for find in (subspace.dint, subspace.dint_both):
        with pytest.raises(TypeError, match=message):
            find(*arguments, **options)


def test_numpy_integers_are_whole_numbers():
    accuracy = [[0.1, 0.95], [0.2, 0.96]]
    found = subspace.dint(np.array([1, 2], np.int16), accuracy, 1.0, bootstrap=np.uint8(50))
    assert found == subspace.dint([1, 2], accuracy, 1.0, bootstrap=50)

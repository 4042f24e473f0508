"""Exponents of features and kernels: claims that can fail, two routes to the same numbers."""

import jax
import numpy as np
import pytest

from experiments import _abc_networks as networks
from experiments import _claims, _rates, dynamical_dichotomy
from experiments._progress import Progress
from theorylab.parametrization import MUP, NTP, classify

SMOKE = dynamical_dichotomy.PRESETS["smoke"]
WIDTHS = np.array([128, 256, 512, 1024])


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = dynamical_dichotomy.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return [_claims.verdict(claim, preset) for claim in dynamical_dichotomy.claims(arrays)]


def power_laws(arrays, **off):
    """Return the arrays with the exponents of the theory, of one parametrization off by some."""
    r, first, kappa = dynamical_dichotomy.predicted()
    exponents = {"features": np.stack([first, r], 1), "kernel": kappa}
    arrays = dict(arrays) | {"widths": WIDTHS}
    scatter = np.array([0.9, 1.0, 1.1])
    for name, one in exponents.items():
        one = one.astype(float)
        for place, error in off.get(name, {}).items():
            one[place] += error
        law = np.power.outer(WIDTHS.astype(float), -one)
        arrays[name] = law[:, None] * scatter.reshape(-1, *(1,) * one.ndim)
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_no_exponent(arrays):
    assert verdicts(arrays, "smoke") == ["not tested"] * 3 + ["pass"] * 2
    assert all(np.isfinite(value).all() for value in arrays.values())
    assert arrays["features"].shape == (2, 2, 8, 2) and arrays["kernel"].shape == (2, 2, 8)


@pytest.mark.parametrize(
    ("off", "missed"),
    [
        ({}, []),
        ({"features": {(3, 1): 0.12}}, [0]),
        ({"features": {(5, 1): -0.12}}, [0]),
        ({"features": {(5, 0): 0.5}}, []),  # the first layer is shown only
        ({"kernel": {1: -0.5}}, [1]),  # one over the root of n, in NTP
        ({"kernel": {6: 0.25}}, [2]),  # 2r where the read-out begins small
    ],
)
def test_an_exponent_that_is_off_is_a_miss(arrays, off, missed):
    found = verdicts(power_laws(arrays, **off), "quick")
    assert [place for place, verdict in enumerate(found) if verdict == "MISS"] == missed


@pytest.mark.parametrize("name", ["gauge_output", "gauge_kernel"])
def test_an_identity_that_is_off_is_a_miss(arrays, name):
    for wrong in (1e-9, np.nan):
        found = verdicts(power_laws(arrays) | {name: np.asarray(wrong)}, "smoke")
        assert found.count("MISS") == 1


def test_the_identities_notice_a_wrong_rate(monkeypatch, x64):
    right = networks.abc_rates
    monkeypatch.setattr(networks, "abc_rates", lambda *a: tuple(1.001 * rate for rate in right(*a)))
    x, y = dynamical_dichotomy.points(SMOKE)
    gaps = networks.gauge_gaps([NTP], 8, x, y, rate=1.0, steps=2, seed=0)
    assert gaps["output"] > 1e-5 and gaps["kernel"] == pytest.approx(1e-3, rel=1e-2)


def test_slopes_of_power_laws_are_their_exponents(arrays):
    laws = power_laws(arrays)
    r, first, _ = dynamical_dichotomy.predicted()
    found = dynamical_dichotomy.slopes(WIDTHS, list(laws["features"][..., 0]))
    np.testing.assert_allclose(found, -first, atol=1e-12)
    by_line = [_rates.slope(WIDTHS, row) for row in laws["features"][:, 0, :, 1].T]
    np.testing.assert_allclose(by_line, -r, atol=1e-12)


def test_the_line_from_ntp_to_mup_has_the_exponents_that_the_docstring_says():
    assert dynamical_dichotomy.between(0) == NTP and dynamical_dichotomy.between(1) == MUP
    r, _, kappa = dynamical_dichotomy.predicted()
    np.testing.assert_array_equal(r, [0.5, 0.5, 0.375, 0.25, 0.125, 0, 0.25, 0.125])
    np.testing.assert_array_equal(kappa, [*(2 * r[:6]), *r[6:]])
    for exponent, abc in zip(r, dynamical_dichotomy.PARAMETRIZATIONS.values(), strict=True):
        regime = classify(abc, networks.DEPTH)
        assert regime.kernel == (exponent > 0) and regime.feature_learning == (exponent == 0)


def test_the_figure_has_words_and_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    assert "2 networks at each width" in dynamical_dichotomy.caption(arrays)
    assert "small read-out, r = 1/8: features" in dynamical_dichotomy.alt(power_laws(arrays))
    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(dynamical_dichotomy, arrays, "Data: generated.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000

"""Order to chaos: two routes to every number, what ReLU lacks, claims that fail when spoiled."""

import doctest
import importlib

import numpy as np
import pytest

from experiments import _claims, phase_diagram
from experiments import _phase_diagram_maps as maps
from experiments import _phase_diagram_quadrature as quadrature
from experiments._progress import Progress

SMOKE = phase_diagram.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    import jax

    with jax.enable_x64(True):
        found = phase_diagram.run(SMOKE, Progress())
        return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in phase_diagram.claims(arrays)}


def test_the_smoke_preset_passes_all_but_the_power_laws_of_deep_networks(arrays):
    found = verdicts(arrays, "smoke")
    assert sorted(found.values()) == ["not tested"] * 2 + ["pass"] * 10
    assert all(array.dtype == np.float64 for name, array in arrays.items() if "slope" in name)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("erf_slope", 1 + 1e-5),
        ("erf_critical", 1 + 1e-5),
        ("erf_cut_rate", 1 + 1e-5),
        ("relu_slope", 1 + 1e-5),
        ("relu_critical", 1 + 1e-5),
        ("relu_cut_rate", np.nan),
        ("relu_scale", 1.02),
        ("relu_scale", np.nan),
    ],
)
def test_a_number_that_is_off_is_one_miss_in_every_preset(arrays, field, wrong):
    spoiled = arrays | {field: arrays[field] * wrong}
    spoiled["algebraic"] = np.outer([4.0, 1.0], 1 / arrays["depth"] ** 2.0)
    for preset in ("smoke", "quick", "paper"):
        assert list(verdicts(spoiled, preset).values()).count("MISS") == 1


def test_a_wrong_depth_scale_is_a_miss_in_its_own_phase(arrays):
    for column, phase in ((0, "order"), (-1, "chaos")):
        scale = arrays["erf_scale"].copy()
        scale[:, column] *= 1.02
        found = verdicts(arrays | {"erf_scale": scale}, "smoke")
        assert [name for name, word in found.items() if word == "MISS"] == [
            f"erf, {phase}: fitted depth scale against theory, relative"
        ]


def test_a_fixed_variance_where_there_is_none_is_a_miss(arrays):
    variance = np.where(np.isnan(arrays["relu_variance"]), 1.0, arrays["relu_variance"])
    found = verdicts(arrays | {"relu_variance": variance}, "smoke")
    assert list(found.values()).count("MISS") == 1


def test_the_power_laws_bind_where_networks_are_deep(arrays):
    for power, misses in ((-2.0, 0), (-1.9, 2), (-2.1, 2)):
        laws = np.stack([arrays["depth"] ** power] * 2)
        found = verdicts(arrays | {"algebraic": laws}, "quick")
        assert list(found.values()).count("MISS") == misses


def test_relu_has_no_fixed_variance_from_two_on_and_no_chaos(arrays):
    grown = np.isnan(arrays["relu_variance"])
    assert (grown == (arrays["W_std"] ** 2 >= 2)).all()
    assert (arrays["relu_correlation"][~grown] == 1).all()
    np.testing.assert_allclose(arrays["relu_critical"], 2**0.5, rtol=1e-11)
    w2, b2 = arrays["W_std"] ** 2, arrays["b_std"][:, None] ** 2
    fixed = b2 / (1 - np.where(w2 < 2, w2, np.nan) / 2)
    np.testing.assert_allclose(arrays["relu_variance"], fixed, rtol=1e-12)


def test_quadrature_gives_the_closed_forms():
    W_std, b_std = np.meshgrid(np.linspace(0.5, 3.0, 7), np.array([0.01, 0.3, 1.0]))
    q = quadrature.fixed_variance("erf", W_std, b_std)
    arcsine = W_std**2 * 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)) + b_std**2
    np.testing.assert_allclose(q, arcsine, rtol=1e-12)
    closed = W_std**2 * 4 / np.pi / np.sqrt(1 + 4 * q)
    np.testing.assert_allclose(quadrature.slope_at_one("erf", W_std, q), closed, rtol=1e-12)
    for name in ("erf", "relu"):
        once, twice = (
            quadrature.fixed_variance(name, W_std, b_std, per_side=n)
            for n in (quadrature.NODES, 2 * quadrature.NODES)
        )
        np.testing.assert_allclose(once, twice, rtol=1e-9)


def test_a_chaotic_fixed_point_is_one_of_the_arcsine_map():
    W_std, b_std = 1.5, 0.2
    q = float(quadrature.fixed_variance("erf", W_std, b_std))
    correlation, rate = quadrature.chaotic_fixed_point("erf", W_std, b_std, q)
    y = 2 * correlation * q / (1 + 2 * q)
    assert 0 < correlation < 1
    assert W_std**2 * 2 / np.pi * np.arcsin(y) + b_std**2 == pytest.approx(correlation * q)
    assert rate == pytest.approx(W_std**2 * 4 / np.pi / (1 + 2 * q) / np.sqrt(1 - y**2))


def test_the_window_keeps_the_kink_of_relu_out_of_its_rate():
    # 1 - c loses k (1 - c)^(3/2) a layer beside its factor chi: at the smallest |log chi| of all.
    chi, k = np.exp(-0.01), 2 * 2**0.5 / (3 * np.pi)
    gaps = [0.7]
    for _ in range(3000):
        gaps.append(chi * (gaps[-1] - k * gaps[-1] ** 1.5))
    assert phase_diagram.fit(np.array(gaps[1:]), 100.0) == pytest.approx(100, rel=0.01)
    early = np.array(gaps[1:]) * 1e-6  # the same curve, fitted between 1e-5 and 1e-2
    assert phase_diagram.fit(early, 100.0) != pytest.approx(100, rel=0.01)


def test_a_rate_that_too_few_layers_show_is_not_a_number():
    assert np.isnan(phase_diagram.fit(np.array([1e-3, 1e-9, 1e-15]), 1.0))


def test_the_figure_has_words(arrays):
    assert "one call" in phase_diagram.caption(arrays)
    assert "no exponential rate" in phase_diagram.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(phase_diagram, arrays, "Data: none.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_examples_are_true(x64):
    for name in ("phase_diagram", "_phase_diagram_maps", "_phase_diagram_quadrature"):
        module = importlib.import_module(f"experiments.{name}")
        assert doctest.testmod(module).failed == 0
    assert maps.NEWTON_STEPS < quadrature.NEWTON_STEPS

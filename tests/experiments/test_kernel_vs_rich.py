"""The kernel's change in NTP and muP: claims that can fail, and one run written once more."""

import doctest

import jax
import numpy as np
import pytest

from experiments import _abc_networks as networks
from experiments import _claims, kernel_vs_rich
from experiments._progress import Progress
from theorylab.parametrization import MUP

SMOKE = kernel_vs_rich.PRESETS["smoke"]
WIDTHS = np.array([128, 256, 512, 1024])


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = kernel_vs_rich.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return [_claims.verdict(claim, preset) for claim in kernel_vs_rich.claims(arrays)]


def power_laws(arrays, kernel=(-1.0, 0.0), features=(-0.5, 0.0)):
    arrays = dict(arrays) | {"widths": WIDTHS}
    for name, exponents in (("kernel", kernel), ("features", features)):
        law = np.power.outer(WIDTHS.astype(float), np.array(exponents))
        arrays[name] = law[:, None, :, None] * np.array([0.9, 1.0, 1.1])[:, None, None]
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_no_slope(arrays):
    assert verdicts(arrays, "smoke") == ["not tested"] * 4 + ["pass"] * 2
    assert all(np.isfinite(value).all() for value in arrays.values())
    assert (arrays["kernel"][..., 0] == 0).all() and (arrays["features"][..., 0] == 0).all()


@pytest.mark.parametrize(
    ("laws", "missed"),
    [
        ({}, []),
        ({"kernel": (-0.5, 0.0)}, [0]),
        ({"features": (-0.35, 0.0)}, [1]),
        ({"kernel": (-1.0, -0.25)}, [2]),
        ({"features": (-0.5, 0.12)}, [3]),
    ],
)
def test_a_slope_that_is_off_is_a_miss(arrays, laws, missed):
    found = verdicts(power_laws(arrays, **laws), "quick")
    assert [place for place, verdict in enumerate(found) if verdict == "MISS"] == missed


@pytest.mark.parametrize("name", ["gauge_output", "gauge_kernel"])
def test_an_identity_that_is_off_is_a_miss(arrays, name):
    assert verdicts(dict(arrays) | {name: np.asarray(1e-9)}, "smoke").count("MISS") == 1


def test_features_and_kernel_after_one_step_are_those_of_numpy(x64):
    """MuP at width n: read-out and input multipliers 1 / sqrt n and sqrt n, written by hand."""
    n, rate = 5, 0.5
    x, y = kernel_vs_rich.circle(4)
    shown = networks.measured([MUP], n, x, y, rate=rate, records=1, every=1, seeds=1, seed=3)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), n), 0)
    init = networks.abc_mlp(networks.sizes(n, 2), networks.PLAIN, np.tanh).init
    w = [np.asarray(one) / np.sqrt(n) for one in init(key)]
    multiplier = np.sqrt(n) ** np.array([1, 0, -1])

    def forward(w):
        h1 = multiplier[0] * x @ w[0]
        h2 = np.tanh(h1) @ w[1]
        return h1, h2, multiplier[2] * np.tanh(h2) @ w[2]

    def jacobian(w):
        h1, h2, _ = forward(w)
        back2 = multiplier[2] * w[2][:, 0] * (1 - np.tanh(h2) ** 2)
        back1 = back2 @ w[1].T * (1 - np.tanh(h1) ** 2)
        return [
            multiplier[0] * x[:, :, None] * back1[:, None],
            np.tanh(h1)[:, :, None] * back2[:, None],
            multiplier[2] * np.tanh(h2)[:, :, None],
        ]

    error = (forward(w)[2][:, 0] - y) / len(y)
    slopes = jacobian(w)
    after = [one - rate * np.tensordot(error, g, 1) for one, g in zip(w, slopes, strict=True)]
    for place, now in enumerate((w, after)):
        kernel = sum(np.tensordot(g, g, ((1, 2), (1, 2))) for g in jacobian(now))
        np.testing.assert_allclose(shown["kernel"][0, 0, place], kernel, rtol=1e-10)
        np.testing.assert_allclose(shown["output"][0, 0, place], forward(now)[2][:, 0], rtol=1e-9)
    moved = [
        np.sqrt(((late - early) ** 2).mean())
        for early, late in zip(forward(w)[:2], forward(after)[:2], strict=True)
    ]
    np.testing.assert_allclose(shown["moved"][0, 0, 1], moved, rtol=1e-9)


def test_the_target_is_odd_and_of_mean_square_one():
    x, y = kernel_vs_rich.circle(16)
    np.testing.assert_allclose(x[8:], -x[:8], atol=1e-12)
    np.testing.assert_allclose(y[8:], -y[:8], atol=1e-12)
    np.testing.assert_allclose((y**2).mean(), 1)


def test_the_figure_has_words_and_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    assert "is of order 1/n" in kernel_vs_rich.caption(arrays)
    assert "NTP: the kernel changes by" in kernel_vs_rich.alt(arrays)
    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(kernel_vs_rich, arrays, "Data: generated.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_example_of_the_shared_module_is_true():
    assert doctest.testmod(networks).failed == 0

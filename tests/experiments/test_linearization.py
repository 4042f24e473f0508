"""Networks against their linearizations: identities that notice errors, claims that can fail."""

import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk
from experiments import _claims, _networks, linearization
from experiments import _linearization_networks as networks
from experiments._progress import Progress
from theorylab import empirical, predict

SMOKE = linearization.PRESETS["smoke"]
ACTIVATIONS = linearization.ACTIVATIONS
TINY = linearization.Config(
    widths=(4,), seeds=2, drawn_seeds=2, n_train=4, n_test=3, steps=6, records=3,
    identity_width=5, per_stage=1, depth=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def arrays():
    return linearization.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in linearization.claims(arrays)}


def ideal(arrays, erf=-1.0, relu=-0.75, flipped=-0.5):
    """Return arrays whose networks follow chosen powers of the width."""
    arrays, widths = dict(arrays), np.array([32.0, 128.0, 512.0])
    ones = np.ones((3, 4, len(arrays["times"])))
    arrays["widths"] = widths
    for start in linearization.STARTS:
        for name, power in (("erf", erf), ("relu", relu)):
            arrays[f"{name}_{start}_distance"] = ones * widths[:, None, None] ** power
    arrays["relu_drawn_flipped"] = ones[..., 0] * widths[:, None] ** flipped
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_no_rate(arrays):
    found = verdicts(arrays, "smoke")
    assert sorted(found.values()) == ["not tested"] * 5 + ["pass"] * 3
    assert all(np.isfinite(value).all() for name, value in arrays.items() if name != "data")


@pytest.mark.parametrize(
    ("powers", "misses"),
    [({}, 0), ({"erf": -0.5}, 2), ({"erf": -1.3}, 2), ({"relu": -1.0}, 2), ({"relu": -0.5}, 2),
     ({"flipped": -1.0}, 1), ({"flipped": 0.0}, 1)],
)  # fmt: skip
def test_rates_bind_in_quick_and_wrong_powers_miss(arrays, powers, misses):
    found = list(verdicts(ideal(arrays, **powers), "quick").values())
    assert (found.count("MISS"), found.count("pass")) == (misses, 8 - misses)


@pytest.mark.parametrize("name", ["erf", "relu", "linear"])
@pytest.mark.parametrize("wrong", [1e-8, np.nan])
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, name, wrong):
    for preset in ("smoke", "quick", "paper"):
        spoiled = ideal(arrays) | {f"identity_{name}": np.asarray(wrong)}
        assert list(verdicts(spoiled, preset).values()).count("MISS") == 1


@pytest.mark.parametrize("wrong", ["rate", "start", "expansion"])
def test_the_identities_notice_a_wrong_formula(monkeypatch, wrong):
    steps = predict.gradient_steps

    def other(kernel, y, *, learning_rate):
        closed = steps(kernel, y, learning_rate=learning_rate * (1 + 1e-6 * (wrong == "rate")))
        shift = 1e-6 * (wrong == "start")
        return lambda *args, f0_train, f0_test: closed(
            *args, f0_train=f0_train + shift, f0_test=f0_test
        )

    monkeypatch.setattr(networks.predict, "gradient_steps", other)
    if wrong == "expansion":  # the network in place of its linearization
        monkeypatch.setattr(networks.empirical, "linearize", lambda f, params: f)
    name = "erf" if wrong == "rate" else "relu"
    monkeypatch.setattr(networks, "ACTIVATIONS", {name: ACTIVATIONS[name]})
    x, y, x_test, _ = networks.classes(TINY)
    assert networks.identities(x, y, x_test, TINY)[f"identity_{name}"] > 1e-8


def test_networks_and_linearizations_take_the_steps_that_are_written_out_by_hand(x64):
    generator = np.random.default_rng(0)
    x, x_test = generator.standard_normal((4, 6)), generator.standard_normal((3, 6))
    y = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    net = _networks.mlp(5, 1, tk.Relu(), 1)
    w, a = generator.standard_normal((6, 5)), generator.standard_normal((5, 1))
    found = networks.pair(net, x, y, x_test, TINY)(
        ({"W": jnp.asarray(w)}, (), {"W": jnp.asarray(a)}), 1.0
    )
    scale, rate = np.sqrt(2 / 6), TINY.flow_time / TINY.steps

    def function(inputs, w, a):
        return np.maximum(scale * inputs @ w, 0) @ a / np.sqrt(5)

    def gradient(inputs, residual, w, a):
        z = scale * inputs @ w
        return (
            scale * inputs.T @ ((residual @ a.T) * (z > 0)) / np.sqrt(5),
            np.maximum(z, 0).T @ residual / np.sqrt(5),
        )

    def change(inputs, dw, da):  # of the linearization at (w, a)
        z = scale * inputs @ w
        return (np.maximum(z, 0) @ da + ((scale * inputs @ dw) * (z > 0)) @ a) / np.sqrt(5)

    here, moved = [w, a], [np.zeros_like(w), np.zeros_like(a)]
    distances = [0.0]
    for step in range(1, TINY.steps + 1):
        residual = function(x, *here) - function(x, w, a) - y
        flat = change(x, *moved) - y
        here = [p - rate * g / 4 for p, g in zip(here, gradient(x, residual, *here), strict=True)]
        moved = [p - rate * g / 4 for p, g in zip(moved, gradient(x, flat, w, a), strict=True)]
        if step % 2 == 0:
            f = function(x_test, *here) - function(x_test, w, a)
            distances.append(np.sqrt(((f - change(x_test, *moved)) ** 2).mean()))
    np.testing.assert_allclose(found["distance"], distances, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["f"][-1], f[:, 0], rtol=1e-10)
    flipped = ((x_test @ here[0] > 0) != (x_test @ w > 0)).mean()
    assert float(found["flipped"]) == pytest.approx(flipped)
    assert flipped > 0


def test_both_starts_are_the_same_networks_and_centred_ones_begin_at_zero(arrays):
    for name in linearization.ACTIVATIONS:
        assert np.abs(arrays[f"{name}_drawn_f"][:, 0]).mean() > 0.1
        assert (np.abs(arrays[f"{name}_centred_f"][:, 0]) < 1e-6).all()
        for start in linearization.STARTS:
            assert (arrays[f"{name}_{start}_distance"][..., 0] < 1e-6).all()
            assert (arrays[f"{name}_{start}_distance"][..., 1:] > 1e-4).all()


def test_classes_are_two_digits_in_equal_numbers():
    x, y, x_test, labels = networks.classes(linearization.Config())
    assert x.shape == x_test.shape == (64, 784)
    assert sorted(set(labels.tolist())) == [3, 8]
    assert y.sum() == 0
    assert set(y.ravel().tolist()) == {-1.0, 1.0}
    every = _networks.images(20)
    np.testing.assert_array_equal(x[0], every.x_train[every.y_train == 3][0])
    assert y[0, 0] == 1.0  # the first digit has target +1


@pytest.mark.parametrize(
    ("change", "words"),
    [({"digits": (3, 3)}, "digits must be two different ones of 0 to 9"),
     ({"digits": (3, 10)}, "digits must be two different ones of 0 to 9"),
     ({"records": 7}, "records must divide the 100 steps, got 7"),
     ({"n_train": 2000}, "n_train must be between 1 and 4000")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        networks.classes(linearization.Config(**change))


def test_an_interrupted_run_gives_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(linearization, "ACTIVATIONS", {"relu": tk.Relu()})
    monkeypatch.setattr(linearization, "identities", lambda *args: {"identity": np.zeros(())})

    class Stop(Exception):
        pass

    class Interrupted(Progress):
        def stage(self, label, fn):
            if label.startswith("ReLU, centred"):
                raise Stop
            return super().stage(label, fn)

    whole = linearization.run(TINY, Progress())
    with pytest.raises(Stop):
        linearization.run(TINY, Interrupted(tmp_path))
    resumed = linearization.run(TINY, Progress(tmp_path))
    assert resumed.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_stages_cover_every_network_once_in_every_preset():
    for config in linearization.PRESETS.values():
        labels = list(linearization._costs(config))
        assert len(labels) == len(set(labels))
        for start, count in (("drawn", config.drawn_seeds), ("centred", config.seeds)):
            for width in config.widths:
                stages = linearization._stages("erf", start, width, config)
                assert [i for _, a, b in stages for i in range(a, b)] == list(range(count))


def test_the_figure_has_words(arrays):
    assert "SHA-256" in linearization.caption(arrays)
    assert "digits 3 (target +1) and 8" in linearization.caption(arrays)
    assert "Three panels" in linearization.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(linearization, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_expansion_is_the_public_one():
    assert networks.empirical.linearize is empirical.linearize

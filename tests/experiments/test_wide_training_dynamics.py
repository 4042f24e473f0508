"""Training against the closed form: the exact identity, claims that can fail, and what resumes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk
from experiments import _claims, _deviations, _identities, _networks, wide_training_dynamics
from experiments._progress import Progress
from theorylab import predict

SMOKE = wide_training_dynamics.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return wide_training_dynamics.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return {
        claim.name: _claims.verdict(claim, preset)
        for claim in wide_training_dynamics.claims(arrays)
    }


def ideal(arrays, power=-0.5, size=0.5, spread=2.0, offset=0.0):
    """Return arrays of made-up networks: theory plus noise whose size is a chosen power law."""
    generator = np.random.default_rng(0)
    mean = arrays["mean"]
    scale = float(arrays["targets_rms"])
    arrays = dict(arrays)
    arrays["widths"] = np.array([64, 256, 1024])
    arrays["drawn_widths"] = np.array([64, 256, 1024])
    arrays["ensemble_widths"] = np.array([256])
    for width in (64, 256, 1024):
        # All networks of a width deviate alike, so that the mean does by as much.
        gap = np.where(generator.random(mean.shape) < 0.5, -scale, scale)
        centred = size * (width / 64) ** power * gap
        arrays[f"centred_{width}"] = np.stack([mean + centred] * 8)
        noise = generator.standard_normal((64, *mean.shape)) * scale * spread
        arrays[f"drawn_{width}"] = mean + noise + offset * scale
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_no_rate(arrays):
    found = verdicts(arrays, "smoke")
    assert sorted(found.values()) == ["not tested"] * 4 + ["pass"] * 2
    assert all(np.isfinite(arrays[name]).all() for name in arrays if name != "data")


def test_claims_bind_in_quick_and_fail_when_the_arrays_are_spoiled(arrays):
    good = ideal(arrays, size=0.15)
    assert sorted(verdicts(good, "quick").values()) == ["not tested"] + ["pass"] * 5
    for name, spoiled in (
        ("centred: slope of the deviation in the width", ideal(arrays, size=0.04, power=0.0)),
        ("centred: slope of the deviation in the width", ideal(arrays, size=0.15, power=-1.0)),
        ("centred: deviation at the widest", ideal(arrays, size=0.25)),
        ("as drawn: slope in the number of networks", ideal(arrays, size=0.15, offset=1.0)),
    ):
        found = verdicts(spoiled, "quick")
        assert found[name] == "MISS"
        assert list(found.values()).count("MISS") == 1


@pytest.mark.parametrize("place", ["train", "test"])
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, place):
    for preset in ("smoke", "quick", "paper"):
        for wrong in (2e-6, np.nan):
            spoiled = ideal(arrays, size=0.15) | {f"identity_{place}": np.asarray(wrong)}
            assert list(verdicts(spoiled, preset).values()).count("MISS") == 1


@pytest.mark.parametrize("change", ["rate", "steps"])
def test_the_identity_notices_a_wrong_closed_form(monkeypatch, change):
    right = predict.gradient_steps

    def wrong(kernel, y, *, learning_rate):
        factor = 1.001 if change == "rate" else 1.0
        closed = right(kernel, y, learning_rate=factor * learning_rate)
        late = 1 if change == "steps" else 0
        return lambda times, *args, **options: closed(times + late, *args, **options)

    monkeypatch.setattr(_identities.predict, "gradient_steps", wrong)
    images = _networks.images(4, 3)
    gaps = _identities.stepping_agrees(
        images.x_train, images.x_test, _networks.one_hot(images.y_train),
        width=6, rate=0.2, steps=10, every=5, seed=0, family=0,
    )  # fmt: skip
    assert gaps["identity_train"] > 1e-5
    assert gaps["identity_test"] > 1e-5


def test_centred_networks_start_at_zero_and_networks_as_drawn_do_not(arrays):
    for width in SMOKE.widths:
        assert (arrays[f"centred_{width}"][:, 0] == 0).all()
    for width in SMOKE.drawn_widths:
        assert np.abs(arrays[f"drawn_{width}"][:, 0]).mean() > 0.1


def test_theory_starts_at_zero_with_the_nngp_and_its_band_shrinks_at_every_point(arrays):
    images = _networks.images(SMOKE.n_train, SMOKE.n_test)
    net = _networks.mlp(1, 2, tk.Relu(), 10)
    assert np.abs(arrays["mean"][0]).max() == 0
    np.testing.assert_allclose(
        arrays["cov"][0], net.kernel(jnp.asarray(images.x_test), ntk=False).nngp, atol=1e-5
    )
    traces = np.trace(arrays["cov"], axis1=1, axis2=2)
    assert (np.diff(traces) < 0).all()


def test_descent_on_a_quadratic_is_the_geometric_sequence(x64):
    curvature = jnp.array([0.5, 2.0])
    start = {"a": jnp.array([1.0, -3.0])}
    end, seen = _networks.descend(
        lambda p: 0.5 * (curvature * p["a"] ** 2).sum(),
        start,
        learning_rate=0.3,
        records=4,
        every=3,
        observe=lambda p: p["a"],
    )
    steps = jnp.arange(0, 13, 3)[:, None]
    np.testing.assert_allclose(seen, (1 - 0.3 * curvature) ** steps * start["a"], rtol=1e-12)
    np.testing.assert_array_equal(end["a"], seen[-1])


def test_the_loss_is_a_mean_over_rows_and_a_sum_over_outputs():
    loss = _networks.squared_loss(lambda p: p, jnp.zeros((4, 10)))
    assert float(loss(jnp.ones((4, 10)))) == pytest.approx(5.0)


def test_deviations_of_independent_networks_have_the_errors_that_are_stated():
    # Gaussian outputs with a covariance whose degrees of freedom are few.
    generator = np.random.default_rng(0)
    factor = generator.standard_normal((6, 6)) * [3, 1, 1, 0.3, 0.3, 0.3]
    cov, outputs = (factor @ factor.T)[None], 4
    f = np.einsum("ij,njc->nic", factor, generator.standard_normal((40_000, 6, outputs)))
    logs = np.log([
        _deviations.at_the_end(one[None, None], np.zeros((1, 6, outputs)), 1.0, 1) for one in f
    ])  # fmt: skip
    freedom = _deviations.degrees_of_freedom(cov, outputs)
    assert logs.std() == pytest.approx(1 / np.sqrt(2 * freedom), rel=0.1)
    assert np.sqrt(np.exp(2 * logs).mean()) == pytest.approx(_deviations.band(cov, 1.0), rel=0.02)


def test_averaging_in_groups_uses_every_network_once():
    f = np.arange(8.0).reshape(8, 1, 1, 1)
    zero = np.zeros((1, 1, 1))
    assert _deviations.at_the_end(f, zero, 2.0, 8) == pytest.approx(3.5 / 2)
    pairs = np.sqrt(np.mean([0.5**2, 2.5**2, 4.5**2, 6.5**2]))
    assert _deviations.at_the_end(f, zero, 1.0, 2) == pytest.approx(pairs)
    assert _deviations.counts(64) == [1, 2, 4, 8, 16, 32, 64]
    assert _deviations.counts(6) == [1, 2, 4]
    with pytest.raises(ValueError, match="count must be between 1 and 8, got 9"):
        _deviations.at_the_end(f, zero, 1.0, 9)


def test_an_interrupted_run_gives_the_same_bits(arrays, tmp_path):
    class Stop(Exception):
        pass

    class Interrupted(Progress):
        def stage(self, label, fn):
            if label.startswith("as drawn, width 64"):
                raise Stop
            return super().stage(label, fn)

    with pytest.raises(Stop):
        wide_training_dynamics.run(SMOKE, Interrupted(tmp_path))
    resumed = wide_training_dynamics.run(SMOKE, Progress(tmp_path))
    assert resumed.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_stages_cover_every_network_once_in_every_preset():
    for config in wide_training_dynamics.PRESETS.values():
        labels = list(wide_training_dynamics._costs(config))
        assert len(labels) == len(set(labels))
        for family, widths in ((0, config.widths), (1, config.drawn_widths)):
            for width in widths:
                stages = wide_training_dynamics._stages(family, width, config)
                numbers = [i for _, first, last in stages for i in range(first, last)]
                assert numbers == list(range(len(numbers)))
        assert set(config.ensemble_widths) <= set(config.drawn_widths)
        assert config.steps % config.every == 0


def test_the_figure_has_words(arrays):
    assert "MNIST" in wide_training_dynamics.caption(arrays)
    assert "SHA-256" in wide_training_dynamics.caption(arrays)
    assert "Four panels" in wide_training_dynamics.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(wide_training_dynamics, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_keys_of_families_differ():
    centred, drawn = (_networks.keys(0, family, 64, 0, 1) for family in (0, 1))
    assert (jax.random.key_data(centred) != jax.random.key_data(drawn)).any()

"""The kernels of finite networks: what must be equal, what fails when spoiled, what resumes."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk
from experiments import _claims, _layerwise, _networks, _rates, ntk_convergence
from experiments._progress import Progress
from theorylab import data, empirical

SMOKE = ntk_convergence.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return ntk_convergence.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in ntk_convergence.claims(arrays)}


def power_laws(arrays, start=-0.5, erf=-1.0, relu=-0.75):
    """Return the arrays with exact power laws in place of what was measured."""
    laws = {"start_deviation": start, "erf_change": erf, "relu_change": relu}
    for field, power in laws.items():
        widths = arrays[f"{field.split('_')[0]}_widths"].astype(float)
        arrays = arrays | {field: np.outer(widths**power, [0.9, 1.0, 1.1])}
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_no_rate(arrays):
    found = verdicts(arrays, "smoke")
    assert sorted(found.values()) == ["not tested"] * 3 + ["pass"] * 5
    assert all(np.isfinite(arrays[name]).all() for name in arrays if name != "data")


def test_the_rates_bind_in_quick_and_fail_when_the_arrays_are_spoiled(arrays):
    assert set(verdicts(power_laws(arrays), "quick").values()) == {"pass"}
    for spoiled in (
        power_laws(arrays, start=-0.4),
        power_laws(arrays, start=-0.6),
        power_laws(arrays, erf=-0.75),
        power_laws(arrays, relu=-1.0),
        power_laws(arrays, relu=-0.5),
    ):
        assert list(verdicts(spoiled, "quick").values()).count("MISS") == 1


@pytest.mark.parametrize(
    "field", ["layers_jacobian", "layers_products", "span", "linear_finite", "linear_limit"]
)
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, field):
    for preset in ("smoke", "quick", "paper"):
        for wrong in (1e-9, np.nan):
            found = verdicts(power_laws(arrays) | {field: np.asarray(wrong)}, preset)
            assert list(found.values()).count("MISS") == 1


def test_the_identities_notice_a_wrong_kernel(monkeypatch):
    from experiments import _identities

    x = _networks.images(4).x_train
    right = _identities.layerwise_ntk
    monkeypatch.setattr(_identities, "layerwise_ntk", lambda *a: right(*a) * (1 + 1e-6))
    gaps = _identities.kernels_agree(x, 0, 0)
    assert gaps["layers_jacobian"] > 1e-7
    assert gaps["layers_products"] > 1e-7
    assert gaps["linear_finite"] < 1e-12


@pytest.mark.parametrize("activation", [tk.Relu(), tk.Erf(), tk.Sin(b=2.0)])
def test_layer_by_layer_is_the_whole_jacobian_between_two_batches(activation, x64):
    net = tk.serial(
        tk.Dense(7, W_std=1.3), activation, tk.Dense(9, W_std=0.8), activation, tk.Dense(3)
    )
    x1, x2 = (jax.random.normal(jax.random.key(i), (n, 5)) for i, n in ((0, 4), (1, 6)))
    params = net.init(jax.random.key(2), x1.shape)
    np.testing.assert_allclose(
        _layerwise.layerwise_ntk(net, params, x1, x2),
        empirical.ntk(net.apply, params, x1, x2),
        rtol=1e-11,
    )


def test_layer_by_layer_holds_in_float32():
    net = _networks.mlp(32, 2, tk.Relu(), 10)
    x = jnp.asarray(_networks.images(6).x_train)
    params = net.init(jax.random.key(0), x.shape)
    ours, theirs = _layerwise.layerwise_ntk(net, params, x), empirical.ntk(net.apply, params, x)
    assert ours.dtype == jnp.float32
    assert float(jnp.abs(ours - theirs).max() / jnp.abs(theirs).max()) < 1e-5


@pytest.mark.parametrize(
    "layer", [tk.Dense(3, b_std=0.1), tk.Dense(3, parameterization="standard")]
)
def test_layer_by_layer_refuses_what_its_sum_misses(layer):
    with pytest.raises(ValueError, match="no bias and the NTK parameterization"):
        _layerwise.layerwise_ntk(tk.serial(layer), ({},), jnp.ones((1, 2)))


def test_the_mean_kernel_of_narrow_networks_with_one_hidden_layer_is_the_analytic_one():
    # The kernel is then a mean over independent units, so it is unbiased at any width.
    net = _networks.mlp(16, 1, tk.Relu(), 1)
    x = jnp.asarray(_networks.images(4).x_train)
    kernel = jax.jit(lambda key: _layerwise.layerwise_ntk(net, net.init(key, x.shape), x))
    drawn = np.stack([kernel(key) for key in jax.random.split(jax.random.key(0), 400)])
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - net.kernel(x).ntk) < 4.5 * error).all()


def test_images_are_centred_before_they_are_scaled():
    images = _networks.images(20, 10)
    for x in (images.x_train, images.x_test):
        np.testing.assert_allclose((x.astype(np.float64) ** 2).sum(1), 784, rtol=1e-5)
    assert images.y_train[:10].tolist() == list(range(10))
    raw = data.mnist(subset="5k").x_train.astype(np.float64).reshape(4000, -1)
    deviation = (raw - raw.mean(0))[:20]
    cosine = (images.x_train * deviation).sum(1) / 28 / np.linalg.norm(deviation, axis=1)
    np.testing.assert_allclose(cosine, 1, rtol=1e-6)


def test_coordinates_keep_inner_products_and_kernels():
    images = _networks.images(5, 3)
    inside = _networks.coordinates(images.x_train, images.x_test)
    assert [x.shape for x in inside] == [(5, 8), (3, 8)]
    pixels, few = (np.concatenate(x) for x in ((images.x_train, images.x_test), inside))
    np.testing.assert_allclose(few @ few.T / 8, pixels @ pixels.T / 784, atol=1e-6)
    net = _networks.mlp(1, 2, tk.Relu(), 10)
    for ours, theirs in zip(net.kernel(few), net.kernel(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_span_identity_notices_a_wrong_scale(monkeypatch):
    from experiments import _identities

    right = _networks.coordinates
    monkeypatch.setattr(_identities, "coordinates", lambda x: (right(x)[0] * 1.001,))
    assert _identities.spans_agree(_networks.images(3).x_train, 0, 0)["span"] > 1e-5


def test_a_circle_passes_through_both_images():
    a, b = _networks.images(2).x_train
    circle = ntk_convergence.great_circle(a, b, 181)
    np.testing.assert_allclose(np.linalg.norm(circle, axis=1), 28, rtol=1e-5)
    np.testing.assert_allclose(circle[90], a, atol=1e-5)
    angle = np.arccos(a @ b / 784)
    nearest = circle[90 + round(angle / np.pi * 90)]
    assert nearest @ b / 784 > np.cos(np.pi / 180)


def test_a_network_depends_on_its_own_number_alone():
    few = _networks.keys(0, 1, 64, 2, 4)
    many = _networks.keys(0, 1, 64, 0, 6)
    assert (jax.random.key_data(few) == jax.random.key_data(many[2:4])).all()
    others = [
        _networks.keys(1, 1, 64, 2, 4),
        _networks.keys(0, 2, 64, 2, 4),
        _networks.keys(0, 1, 65, 2, 4),
    ]
    for other in others:
        assert (jax.random.key_data(few) != jax.random.key_data(other)).any()


def test_an_interrupted_run_gives_the_same_bits(arrays, tmp_path):
    class Stop(Exception):
        pass

    class Interrupted(Progress):
        def stage(self, label, fn):
            if label.startswith("training, ReLU, width 64"):
                raise Stop
            return super().stage(label, fn)

    with pytest.raises(Stop):
        ntk_convergence.run(SMOKE, Interrupted(tmp_path))
    resumed = ntk_convergence.run(SMOKE, Progress(tmp_path))
    assert resumed.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(resumed[name], value)


def test_slopes_of_power_laws_are_their_exponents_and_errors_shrink_with_networks():
    widths = np.array([2.0, 8.0, 16.0])
    assert _rates.slope(widths, 3 * widths**-0.7) == pytest.approx(-0.7)
    assert np.isnan(_rates.slope([4], [1]))
    draws = np.random.default_rng(1).uniform(1, 2, size=(3, 400))

    def statistic(samples):
        return _rates.slope(widths, [sample.mean() for sample in samples])

    few = _rates.standard_error(statistic, list(draws[:, :25]))
    many = _rates.standard_error(statistic, list(draws))
    assert 2.5 < few / many < 6.5  # sqrt(400 / 25) = 4


def test_the_figure_has_words(arrays):
    assert "MNIST" in ntk_convergence.caption(arrays)
    assert "SHA-256" in ntk_convergence.caption(arrays)
    assert "Three panels" in ntk_convergence.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(ntk_convergence, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    "name", ["_networks", "_layerwise", "_rates", "_deviations", "_identities"]
)
def test_the_examples_in_shared_modules_are_true(name):
    module = importlib.import_module(f"experiments.{name}")
    assert doctest.testmod(module).failed == 0

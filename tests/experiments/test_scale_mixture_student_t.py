"""Student-t outputs and processes: laws drawn by two routes, tuning, claims that can fail."""

import doctest
import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments import _claims, scale_mixture_student_t
from experiments import _scale_mixture_student_t_data as tables
from experiments import _scale_mixture_student_t_evidence as evidence
from experiments import _scale_mixture_student_t_networks as networks
from experiments._progress import Progress

SMOKE = scale_mixture_student_t.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = scale_mixture_student_t.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    found = scale_mixture_student_t.claims(arrays)
    return {claim.name: _claims.verdict(claim, preset) for claim in found}


def test_the_identities_bind_in_smoke_and_pass(arrays):
    found = list(verdicts(arrays, "smoke").values())
    assert found == ["not tested"] * 4 + ["pass"] * 4 + ["not tested"] * 2


def test_a_number_that_is_off_is_a_miss(arrays):
    fine = arrays | {"student": np.full((2, 2, 5), 0.5), "gaussian": np.full((2, 2, 5), 1e-9)}
    assert "MISS" not in verdicts(fine, "quick").values()
    low, high = np.full((2, 2, 5), 0.5), np.full((2, 2, 5), 1e-9)
    low[0, 1, 0], high[1, 1, 4] = 9e-4, 2e-6
    nearly = np.full((2, 2, 5), 0.5)
    nearly[1, 1, :3] = 0.04
    densities = arrays["diabetes_densities"].copy()
    densities[0, 0, 0, 0] += 1e-5
    for field, wrong in (
        ("student", low),
        ("student", nearly),
        ("gaussian", high),
        ("identity_density", np.asarray(2e-10)),
        ("identity_next", np.asarray(np.nan)),
        ("diabetes_densities", densities),
        ("auto mpg_scales", arrays["auto mpg_scales"] + 2e-4),
    ):
        assert list(verdicts(fine | {field: wrong}, "quick").values()).count("MISS") == 1


def test_small_p_values_at_width_64_are_shown_and_not_claimed(arrays):
    student = np.full((2, 2, 5), 0.5)
    student[:, 0] = 1e-9
    fine = {"student": student, "gaussian": np.full((2, 2, 5), 1e-9)}
    assert "MISS" not in verdicts(arrays | fine, "quick").values()


def test_without_wide_networks_nothing_passes(arrays):
    narrow = {name: arrays[name][:, :1] for name in ("student", "gaussian")}
    found = verdicts(arrays | narrow | {"widths": np.array([64])}, "quick")
    assert list(found.values())[:3] == ["MISS"] * 3


def test_outputs_layer_by_layer_have_the_law_of_networks_with_all_their_weights():
    width, depth, draws = 8, 2, 4000
    net = networks.network(width, depth)
    x = np.ones((1, 3), np.float32)

    def output(key):
        return net.apply(net.init(key, x.shape), x)[0, 0]

    whole = jax.jit(jax.vmap(output))(jax.random.split(jax.random.key(1), draws))
    s = 1.5 / np.random.default_rng(2).gamma(2.5, size=draws)
    whole = np.sqrt(s) * np.asarray(whole)

    def drawn(norm):
        return networks.outputs(
            jax.random.key(3), norm, 2.5, 1.5, width=width, depth=depth, draws=draws
        )

    assert stats.ks_2samp(whole, drawn(1.0)).pvalue > 1e-2
    assert stats.ks_2samp(whole, drawn(4.0)).pvalue < 1e-6


def test_the_test_is_blind_to_neither_the_scale_nor_the_degrees_of_freedom():
    config = scale_mixture_student_t.Config(seeds=1)
    right, wider = (
        scale_mixture_student_t.fits(k, 1.0, 256, 1, config)["student"] for k in (1.0, 2.0)
    )
    assert right > 1e-3 > 1e-6 > wider
    f = stats.t(4).rvs(4000, random_state=0)
    assert stats.kstest(f, stats.t(8, scale=math.sqrt(2 * 6 / 8)).cdf).pvalue < 1e-3


def test_outputs_have_the_variance_of_a_student_t_and_repeat_by_key():
    def drawn(key):
        key = jax.random.key(key)
        return np.asarray(networks.outputs(key, 1.0, 8.0, 8.0, width=256, depth=1, draws=4000))

    np.testing.assert_array_equal(drawn(0), drawn(0))
    # IG(8, 8): variance 8 / 7 K and kurtosis 3.5, so a standard error of 2.5 %.
    assert abs(drawn(0).var() / (8 / 7) - 1) < 0.1
    assert drawn(0).dtype == np.float32


@pytest.mark.parametrize("draws", [0, 150])
def test_draws_that_do_not_fill_groups_are_refused(draws):
    with pytest.raises(ValueError, match=f"draws must be a positive multiple of 100, got {draws}"):
        networks.outputs(jax.random.key(0), 1.0, 2.0, 2.0, width=4, depth=1, draws=draws)


def test_tables_keep_their_rows_and_inner_products():
    for name, rows, columns in (("diabetes", 442, 10), ("auto mpg", 392, 7)):
        found = tables.table(name)
        assert found.x.shape == (rows, 10)
        assert found.y.shape == (rows,)
        np.testing.assert_allclose(found.y.std(), 1, rtol=1e-12)
        assert np.count_nonzero(np.abs(found.x).sum(axis=0)) == columns
        np.testing.assert_allclose((found.x**2).mean(), 1, rtol=1e-12)
    # The first car: 8 cylinders, 307 cubic inches, ..., 18 miles per gallon.
    ratio = tables.table("auto mpg").y[:2]
    np.testing.assert_allclose(ratio[0] / ratio[1], 18 / 15, rtol=1e-12)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="comes with mlxtend, where autompg.csv.gz was not found"):
        tables.table("auto mpg")


def test_tuning_ends_where_no_hyperparameter_can_be_moved_to_gain(x64):
    used = tables.table("diabetes")
    x, y = used.x[:8], used.y[:8] - used.y[:8].mean()
    for process in (evidence.GAUSSIAN, evidence.STUDENT):
        theta, there = evidence.tuned(x, y, 2.0, process)
        for step in 1e-2 * np.vstack([np.eye(3), -np.eye(3)]):
            moved = theta + step
            moved[1:] = np.clip(moved[1:], *evidence.LIMITS)
            (_, here), _ = evidence._downhill(moved, x, y, 2.0, process)
            assert here[process] <= there[process] + 1e-9


def test_errors_are_those_of_the_textbook_formulas(x64):
    used = tables.table("auto mpg")
    y = used.y[:12] - used.y[:8].mean()
    k = np.asarray(evidence.covariance(jnp.zeros(3), used.x[:12]))
    found = evidence.surprises(k, y[:8], y[-3:], 2.0, np.array([1.0, 5.0]))
    assert found.shape == (2, 2)
    for column, factor in enumerate((1.0, 5.0)):
        c = factor * k
        solved = np.linalg.solve(c[:8, :8], c[:8, -3:])
        mean, variance = solved.T @ y[:8], np.diag(c[-3:, -3:] - c[-3:, :8] @ solved)
        q = y[:8] @ np.linalg.solve(c[:8, :8], y[:8])
        scale = np.sqrt((4 + q) / (4 + 8) * variance)
        wanted = (
            stats.norm.logpdf(y[-3:], mean, np.sqrt(variance)),
            stats.t.logpdf(y[-3:], 12, mean, scale),
        )
        np.testing.assert_allclose(found[:, column], [-w.mean() for w in wanted], rtol=1e-10)


def test_a_posterior_in_trouble_is_not_passed_on(x64):
    k = np.ones((4, 4))
    k[0, 0] = np.nan
    with pytest.raises(ArithmeticError, match="a posterior reports NONFINITE"):
        evidence.surprises(k, np.ones(2), np.ones(2), 2.0, np.ones(1))


def test_sizes_that_do_not_fit_are_refused():
    config = scale_mixture_student_t.Config(sizes=(300,), splits=1)
    with pytest.raises(ValueError, match="must fit into 392 rows of auto mpg, got 300 and 200"):
        scale_mixture_student_t.compare("auto mpg", 300, config)


def test_the_figure_has_words(arrays):
    assert "share rows" in scale_mixture_student_t.caption(arrays)
    assert "Four panels" in scale_mixture_student_t.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(scale_mixture_student_t, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["data", "evidence", "networks"])
def test_the_examples_are_true(name):
    module = importlib.import_module(f"experiments._scale_mixture_student_t_{name}")
    assert doctest.testmod(module).failed == 0

"""Gibbs weights: closed forms by other routes, identities that notice errors, flows of pairs."""

import doctest
import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _claims, weighted_flow_matching
from experiments import _weighted_flow_matching_identities as identities
from experiments import _weighted_flow_matching_samples as samples
from experiments import _weighted_flow_matching_theory as theory
from experiments._progress import Progress
from theorylab import transport

SMOKE = weighted_flow_matching.PRESETS["smoke"]
EPSILONS = np.asarray(SMOKE.epsilons)


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = weighted_flow_matching.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def repeated(arrays):
    """As if there had been many draws, of the population's values and some noise."""
    noise = 0.01 * np.random.default_rng(0).normal(size=(40, len(EPSILONS)))
    moments = [theory.gibbs(epsilon, 2.0) for epsilon in EPSILONS]
    exact = {field: arrays[f"exact_shifted_{field}"] for field in weighted_flow_matching.CURVES}
    exact |= {"x": np.array([m.x for m in moments]), "y": np.array([m.y for m in moments])}
    flows = arrays["flow_epsilons"]
    exact |= {"moved_gibbs": 2 / (1 + 4 / flows), "moved_newton": np.full(len(flows), 2.0)}
    drawn = {f"shifted_{f}": v + noise[:, : len(v)] / (1 + 9 * (v < 0.1)) for f, v in exact.items()}
    return arrays | drawn


def verdicts(arrays, preset):
    return [_claims.verdict(claim, preset) for claim in weighted_flow_matching.claims(arrays)]


def test_the_smoke_preset_passes(arrays):
    assert verdicts(arrays, "smoke") == ["pass"] * 7 + ["not tested"] * 13


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_draws_around_the_population_pass_and_others_miss(repeated, preset):
    assert verdicts(repeated, preset) == ["pass"] * 13 + ["not tested"] * 7
    for field, change in (
        ("shifted_x", 0.02),
        ("shifted_source", -0.02),
        ("shifted_moved_newton", -0.02),
        ("ring_gibbs", 1.0),
    ):
        assert verdicts(repeated | {field: repeated[field] + change}, preset).count("MISS") == 1
    nearer = {"shifted_moved_gibbs": repeated["shifted_moved_newton"][::-1]}
    assert verdicts(repeated | nearer, preset).count("MISS") == 1
    swapped = {
        "shifted_gibbs": repeated["shifted_independent"],
        "shifted_independent": repeated["shifted_gibbs"],
    }
    assert verdicts(repeated | swapped, preset).count("MISS") == 2


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_a_number_that_is_off_is_one_miss_in_every_preset(repeated, preset):
    fine = repeated["fine_shifted_independent"].copy()
    fine[3] *= 2
    for field, wrong in (
        ("identity_grid_gibbs", 1e-11),
        ("identity_grid_newton", 1e-7),
        ("identity_grid_distance", 0.01),
        ("identity_flow_affine", np.nan),
        ("identity_flow_density", 2e-6),
        ("fine_shifted_independent", fine),
        ("ring_converged", repeated["ring_converged"] | True),
    ):
        found = verdicts(repeated | {field: np.asarray(wrong)}, preset)
        assert found.count("MISS") == 1


def gaussian_ratio(epsilon, shift, kind, count=200_000):
    """Total variation to the entropic plan in the plane, by draws from it."""
    rho = theory.entropic(epsilon, shift).correlation
    rng, mean = np.random.default_rng(0), np.array([[0.0, 0.0], [shift, 0.0]])
    plan = np.array([[1, rho], [rho, 1]])
    pairs = mean + np.linalg.cholesky(plan) @ rng.normal(size=(count, 2, 2))

    def log_density(mean, covariance):
        away = pairs - mean
        squares = np.einsum("nid,ij,njd->n", away, np.linalg.inv(covariance), away)
        return -squares / 2 - np.log(np.linalg.det(covariance))

    other, covariance = mean, np.eye(2)
    if kind == "gibbs":
        m = theory.gibbs(epsilon, shift)
        other = np.array([[m.x, 0.0], [m.y, 0.0]])
        covariance = m.variance * np.array([[1, m.correlation], [m.correlation, 1]])
    share = np.exp(log_density(other, covariance) - log_density(mean, plan))
    lost = np.maximum(1 - share, 0)
    return lost.mean(), lost.std() / np.sqrt(count)


@pytest.mark.parametrize("kind", ["gibbs", "independent"])
@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_distances_to_the_plan_are_those_of_draws(kind, epsilon):
    drawn, error = gaussian_ratio(epsilon, 2.0, kind)
    assert abs(theory.distance(epsilon, 2.0, kind) - drawn) < 5 * error
    assert error < 2e-3


def test_marginals_of_one_component_are_the_gaussians_of_the_closed_form():
    epsilon = 2.0
    m = theory.gibbs(epsilon, 2.0)
    points = np.random.default_rng(0).normal(size=(200_000, 2))
    squares = ((points - np.array([m.x, 0.0])) ** 2).sum(1) / m.variance
    share = np.exp(((points**2).sum(1) - squares) / 2) / m.variance
    lost = np.maximum(1 - share, 0)
    found = theory.marginal_distances(epsilon, theory.shifted(2.0))
    assert abs(found[0] - lost.mean()) < 5 * lost.std() / np.sqrt(len(lost))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)  # the middle is a mirror


def test_the_ring_leaves_the_source_nearly_alone_where_it_should():
    near, far = (
        theory.marginal_distances(epsilon, theory.ring(5.0, 0.1))[0] for epsilon in (24.98, 8.0)
    )
    assert near < 0.01 < 0.1 < far


def test_identities_on_the_grid_notice_another_epsilon(x64, monkeypatch):
    on_a_grid = partial(identities.on_a_grid, EPSILONS, 2.0, SMOKE.points)
    found = on_a_grid()
    assert max(found["grid_gibbs"], found["grid_newton"]) < 1e-8
    real = transport.coupling
    monkeypatch.setattr(
        transport, "coupling",
        lambda x, y, *, epsilon, **rest: real(x, y, epsilon=1.001 * epsilon, **rest),
    )  # fmt: skip
    wrong = on_a_grid()
    assert min(wrong["grid_gibbs"], wrong["grid_newton"]) > 1e-5


def test_identities_of_flows_notice_another_velocity(x64, monkeypatch):
    real, both = theory.velocity, identities._with_divergence
    monkeypatch.setattr(theory, "velocity", lambda *given: 1.001 * real(*given))
    monkeypatch.setattr(identities, "_with_divergence", lambda *given: 1.001 * both(*given))
    points = np.array([[0.5, -1.0]])
    wrong = identities.of_flows(EPSILONS[:1], 2.0, theory.ring(3.0, 0.2), points, 20)
    assert min(wrong["flow_affine"], wrong["flow_density"]) > 1e-4


def test_the_flow_of_pairs_carries_one_side_into_the_other(x64):
    rng = np.random.default_rng(0)
    x, y, sigma = rng.normal(size=(20, 2)), 1 + 2 * rng.normal(size=(20, 2)), 0.3
    start = np.tile(x, (100, 1)) + sigma * rng.normal(size=(2000, 2))
    pairs = (jnp.asarray(x), jnp.asarray(y), sigma)
    end = np.asarray(theory.flow(samples.pair_velocity, pairs, jnp.asarray(start), 40))
    spread = y.std(0) / np.sqrt(2000)
    assert (np.abs(end.mean(0) - y.mean(0)) < 5 * spread).all()
    np.testing.assert_allclose(end.std(0), np.sqrt(y.var(0) + sigma**2), rtol=0.08)
    assert np.abs(start.mean(0) - y.mean(0)).max() > 0.5


def test_trouble_is_not_passed_on(monkeypatch):
    batch = np.zeros((3, 4, 4))
    failed = transport.Coupling(batch, *[np.zeros(3)] * 2, np.zeros(3, bool), None, None)
    monkeypatch.setattr(transport, "coupling", lambda *args, **rest: failed)
    with pytest.raises(ArithmeticError, match="plans report"):
        samples.draw(theory.shifted(2.0), SMOKE, 0, False)
    with pytest.raises(ArithmeticError, match="plan reports"):
        identities.on_a_grid(EPSILONS, 2.0, 4)


def test_the_figure_has_words(arrays):
    assert "Gibbs weights" in weighted_flow_matching.caption(arrays)
    assert "Six panels" in weighted_flow_matching.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(weighted_flow_matching, arrays, "Data: generated.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["identities", "samples", "theory"])
def test_the_examples_are_true(name):
    module = importlib.import_module(f"experiments._weighted_flow_matching_{name}")
    assert doctest.testmod(module).failed == 0

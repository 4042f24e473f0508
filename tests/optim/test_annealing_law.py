"""The law of annealing: known parameters come back, and what is not determined is not converged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab.optim import _annealing_fit, schedules
from theorylab.optim.schedules import Status

# (L0, A, alpha, C), the largest rate, steps: as of a large language model, and of a small one.
LARGE = (2.628, 0.430, 0.550, 0.411), 2e-4, 4000
SMALL = (1.4, 1.5, 0.6, 0.05), 1e-2, 2000


def shapes(peak, count):
    """Rates of four schedules, (count,) each."""
    t = np.arange(count) / count
    return {
        "constant": np.full(count, peak),
        "cosine": peak * 0.5 * (1 + np.cos(np.pi * t)),
        "wsd": peak * np.minimum(1, (1 - t) / 0.2),
        "drop": np.where(t < 0.6, peak, 0.1 * peak),
    }


def predicted(truth, rates):
    """The law by NumPy, in float64, the areas by double sums over pieces of the rate."""
    l0, a, alpha, c = truth
    fall = -np.diff(rates, prepend=rates[0])
    left = np.arange(1, len(rates) + 1)
    weight = np.cumsum(0.999 ** np.arange(len(rates)))  # a piece counts at its step and later
    s2 = np.convolve(fall, weight)[: len(rates)]
    assert left.shape == s2.shape
    return l0 + a * np.cumsum(rates) ** -alpha - c * s2


def curves(truth, peak, count, names=("cosine", "constant"), noise=0.0, dtype=np.float64):
    generator = np.random.default_rng(0)
    made, steps = [], np.arange(count // 40, count + 1, count // 40)
    for name in names:
        rates = shapes(peak, count)[name]
        losses = predicted(truth, rates)[steps - 1]
        losses = losses * np.exp(noise * generator.standard_normal(len(steps)))
        made.append((rates.astype(dtype), steps, losses.astype(dtype)))
    return made


@pytest.mark.parametrize("case", [LARGE, SMALL], ids=["large", "small"])
def test_known_parameters_come_back_and_predict_schedules_that_were_not_seen(case, x64):
    law = schedules.fit_annealing_law(curves(*case))
    assert law.converged
    assert law.status == Status.SUCCESS
    np.testing.assert_allclose([law.L0, law.A, law.alpha, law.C], case[0], rtol=1e-6)
    assert float(law.residual) < 1e-9
    for name in ("wsd", "drop"):
        rates = shapes(*case[1:])[name]
        np.testing.assert_allclose(law.predict(rates), predicted(case[0], rates), rtol=1e-7)


def test_noise_and_outliers_move_the_law_little(x64):
    truth = SMALL[0]
    noisy = curves(*SMALL, noise=1e-3)
    law = schedules.fit_annealing_law(noisy)
    assert law.converged
    # Of 80 losses with an error of 1e-3 each: that of the fit, and no more than twice it.
    assert 0.5e-3 < float(law.residual) < 1.5e-3
    rates = shapes(*SMALL[1:])["wsd"]
    # Losses that are right to 1e-3 fix a curve between them to a fraction of that.
    late = slice(SMALL[2] // 40, None)
    off = np.asarray(law.predict(rates))[late] / predicted(truth, rates)[late] - 1
    assert np.abs(off).max() < 1e-3
    for bad in (3, 17, 30):
        noisy[0][2][bad] *= 1.5
    again = schedules.fit_annealing_law(noisy)
    assert again.converged
    off = np.asarray(again.predict(rates))[late] / predicted(truth, rates)[late] - 1
    assert np.abs(off).max() < 2e-3


def test_units_of_rates_and_losses_change_the_parameters_and_nothing_else(x64):
    law = schedules.fit_annealing_law(curves(*SMALL, noise=1e-3))
    scaled = [(50 * r, s, 3 * y) for r, s, y in curves(*SMALL, noise=1e-3)]
    other = schedules.fit_annealing_law(scaled)
    wanted = 3 * law.L0, 3 * law.A * 50**law.alpha, law.alpha, 3 * law.C / 50
    np.testing.assert_allclose([other.L0, other.A, other.alpha, other.C], wanted, rtol=1e-4)
    np.testing.assert_allclose(other.residual, law.residual, rtol=1e-6)


def test_the_minimum_is_one_by_jax_derivatives_of_the_written_objective(x64):
    given = curves(*SMALL, noise=3e-3)
    law = schedules.fit_annealing_law(given)
    areas = [[np.asarray(s)[steps - 1] for s in schedules.annealing_areas(rates)]
             for rates, steps, _ in given]  # fmt: skip
    s1, s2 = (np.concatenate(part) for part in zip(*areas, strict=True))
    y, delta = np.concatenate([losses for *_, losses in given]), 1e-3

    @jax.jit
    @jax.value_and_grad
    def objective(log_p):
        l0, a, alpha, c = jnp.exp(log_p)
        r = jnp.abs(jnp.log(l0 + a * s1**-alpha - c * s2) - jnp.log(y)) / delta
        return jnp.sum(jnp.where(r <= 1, r**2 / 2, r - 0.5))

    p = jnp.log(jnp.stack([law.L0, law.A, law.alpha, law.C]))
    value, slope = objective(p)
    for direction in np.eye(4):
        for length in (1e-3, -1e-3):
            assert objective(p + length * direction)[0] > value
    assert np.abs(slope).max() < 1e-3 * np.abs(objective(p + 1e-2)[1]).max()


def test_derivatives_of_the_fit_are_those_of_jax(x64):
    generator = np.random.default_rng(1)
    points = tuple(generator.uniform(0.5, 2, (3, 9)))
    p = np.array([0.7, 0.4, 0.9, 0.1])

    def residuals(p):
        return jnp.log(p[0] + p[1] * points[0] ** -p[2] - p[3] * points[1]) - jnp.log(points[2])

    np.testing.assert_allclose(_annealing_fit._residuals(p, points), residuals(p), atol=1e-14)
    jacobian = _annealing_fit._jacobian(p, points)
    np.testing.assert_allclose(jacobian, jax.jacobian(residuals)(p), atol=1e-14)


def test_warm_up_is_counted_at_the_peak_in_fit_and_prediction(x64):
    warm = []
    for rates, steps, losses in curves(*SMALL):
        rates = rates.copy()
        rates[:40] = np.linspace(0, rates[40], 40)
        warm.append((rates, steps, losses))
    level = [(np.where(np.arange(len(r)) < 40, r[40], r), s, y) for r, s, y in warm]
    law, other = (
        schedules.fit_annealing_law(c, warmup=w) for c, w in ((warm, 40), (level, 0))
    )  # fmt: skip
    assert int(law.warmup) == 40
    np.testing.assert_allclose(law.L0, other.L0, rtol=1e-12)
    np.testing.assert_allclose(law.predict(warm[0][0]), other.predict(level[0][0]), rtol=1e-10)
    single = other.predict(level[0][0].astype(np.float32))  # the dtype of the rates
    assert single.dtype == np.float32


def test_without_annealing_c_is_undetermined_and_the_rest_still_fits(x64):
    law = schedules.fit_annealing_law(curves(*SMALL, names=("constant",)))
    assert not law.converged
    assert law.status == Status.UNDETERMINED
    np.testing.assert_allclose([law.L0, law.A, law.alpha], SMALL[0][:3], rtol=1e-5)
    flat = curves((2.0, 0.0, 0.5, 0.0), 1e-2, 2000)
    assert schedules.fit_annealing_law(flat).status == Status.UNDETERMINED  # alpha, since A = 0
    few = [(rates, steps[[9, 9, 9, 9]], losses[[9, 9, 9, 9]]) for rates, steps, losses in flat]
    assert schedules.fit_annealing_law(few).status == Status.UNDETERMINED


def test_a_search_that_is_cut_short_is_not_called_converged(monkeypatch, x64):
    monkeypatch.setattr(_annealing_fit, "EVALUATIONS", 2)
    monkeypatch.setattr(_annealing_fit, "STARTS", (1.6,))
    law = schedules.fit_annealing_law(curves(*SMALL))
    assert law.status == Status.STALLED
    assert not law.converged


def test_float32_curves_give_a_float32_law():
    law = schedules.fit_annealing_law(curves(*SMALL, dtype=np.float32))
    assert law.converged
    assert {leaf.dtype for leaf in (law.L0, law.A, law.alpha, law.C, law.residual)} == {
        np.dtype(np.float32)
    }
    np.testing.assert_allclose([law.L0, law.A, law.alpha, law.C], SMALL[0], rtol=1e-3)
    rates = shapes(*SMALL[1:])["wsd"].astype(np.float32)
    found = jax.jit(law.predict)(rates)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, predicted(SMALL[0], rates.astype(float)), rtol=1e-5)
    # A higher rate at first is a longer run and a longer fall; at the end it is less annealing.
    slope = jax.grad(lambda r: law.predict(r)[-1])(rates)
    assert np.isfinite(slope).all()
    assert slope[-1] > 0 > slope[0]


RATES, STEPS, LOSSES = np.ones(9, np.float32), np.arange(1, 6), np.ones(5, np.float32)


@pytest.mark.parametrize(
    ("given", "options", "error", "words"),
    [
        ([], {}, ValueError, r"one or more curves, got \[\]"),
        (schedules.Curve(RATES, STEPS, LOSSES), {}, ValueError, "must be a list of one or more"),
        ([(RATES, STEPS)], {}, TypeError, r"curves\[0\] must be \(rates, steps, losses\)"),
        ([(RATES, STEPS[:3], LOSSES[:3])], {}, ValueError, "at least 4 losses in all, got 3"),
        ([(RATES, STEPS, LOSSES[:4])], {}, ValueError, r"same shape, got \(5,\) and \(4,\)"),
        ([(RATES, STEPS / 1, LOSSES)], {}, TypeError, r"steps must be integers, got .* float64"),
        ([(RATES, STEPS - 1, LOSSES)], {}, ValueError, "from 1 to 9, .*, got 0 to 4"),
        ([(RATES, STEPS + 5, LOSSES)], {}, ValueError, "from 1 to 9, .*, got 6 to 10"),
        ([(RATES, STEPS, 0 * LOSSES)], {}, ValueError, r"losses must be .*positive, got 0.0"),
        ([(RATES, STEPS, LOSSES * np.nan)], {}, ValueError, r"losses must be finite .* got nan"),
        ([(RATES, STEPS, STEPS)], {}, TypeError, r"losses must be a real floating-point array"),
        ([(-RATES, STEPS, LOSSES)], {}, ValueError, r"rates must be .*not negative, got -1.0"),
        ([(0 * RATES, STEPS, LOSSES)], {}, ValueError, "positive at first, got 0 at index 0"),
        ([(RATES[None], STEPS, LOSSES)], {}, ValueError, r"rates must have shape \(steps,\)"),
        ([(RATES, STEPS, LOSSES)], {"warmup": 9}, ValueError, "warmup must be from 0 to 8, got 9"),
        ([(RATES, STEPS, LOSSES)], {"decay": -0.1}, ValueError, r"decay .* \[0, 1\], got -0.1"),
        ([(RATES, STEPS, LOSSES)], {"delta": 0}, ValueError, "delta must be positive, got 0"),
    ],
)  # fmt: skip
def test_bad_curves_are_named(given, options, error, words):
    with pytest.raises(error, match=words):
        schedules.fit_annealing_law(given, **options)


def test_traced_losses_are_refused():
    fit = jax.jit(lambda losses: schedules.fit_annealing_law([(RATES, STEPS, losses)]).L0)
    with pytest.raises(TypeError, match=r"curves\[0\].losses must have known values"):
        fit(LOSSES)

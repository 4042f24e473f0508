"""Refined schedules against closed forms, areas against sums by hand, and what both refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab.optim import schedules

T = 2000
TIME = np.arange(T) / T


def norms(end):
    """Norms that fall from 15 to 1 in the first tenth of the run, then go to `end` on a line."""
    early = 15 - 14 * TIME / 0.1
    return np.where(TIME < 0.1, early, 1 + (end - 1) * (TIME - 0.1) / 0.9)


@pytest.mark.parametrize("steps", [2, 3, 10, 1000])
@pytest.mark.parametrize(("norm", "power"), [(1.0, 2), (3e-5, 1), (7e8, 2)])
def test_flat_norms_give_linear_decay(steps, norm, power, x64):
    rate = schedules.refined(np.full(steps, norm), power=power)
    linear = 1 - np.arange(steps) / (steps - 1)
    assert np.abs(np.asarray(rate.values) - linear).max() <= 1.2e-16
    assert rate.values.dtype == np.float64
    decay = optax.linear_schedule(1.0, 0.0, steps - 1)
    np.testing.assert_allclose(rate.values, [decay(t) for t in range(steps)], atol=1e-15)


# Of w(t) times the integral of w from t to the end, for norms that are linear from t = 0.1 on:
# w S = G(t)^-2 (1 / G(t) - 1 / G(1)) / slope, whose largest value is at t = 0.1.
@pytest.mark.parametrize(
    ("end", "half_way"), [(1.0, 0.5 / 0.9), (2.0, 0.1844), (0.7, 0.8533)], ids=["1", "2", "0.7"]
)
def test_falling_norms_warm_up_and_rising_ones_anneal_early(end, half_way, x64):
    rate = schedules.refined(norms(end), smoothing=0).values
    assert abs(int(rate.argmax()) - 0.1 * T) <= 1
    assert float(rate[T // 2]) == pytest.approx(half_way, abs=1e-3)
    assert float(rate[0]) == pytest.approx(15**-2, rel=0.05)
    assert float(rate.max()) == 1.0
    assert float(rate[-1]) == 0.0
    if end != 1.0:
        g, slope = norms(end)[T // 10 :], (end - 1) / 0.9
        exact = g**-2 * (1 / g - 1 / end) / slope
        off = [
            np.abs(np.asarray(schedules.refined(values, smoothing=0).values)[-len(e) :] - e).max()
            for values, e in (
                (norms(end), exact / exact[0]),
                (norms(end)[::4], (exact / exact[0])[::4]),
            )
        ]
        assert off[0] < 4 / T  # a rectangle of the sum, at most
        assert 3 < off[1] / off[0] < 5  # of first order in the length of a step


def test_the_rate_is_the_weight_times_the_sum_of_the_weights_behind_it(x64):
    g = np.exp(np.random.default_rng(0).standard_normal(17))
    for power in (0, 1, 2, 2.5):
        w = g**-power
        wanted = [w[t] * w[t + 1 :].sum() for t in range(17)]
        found = schedules.refined(g, power=power, smoothing=0, peak_value=3e-3).values
        np.testing.assert_allclose(found, 3e-3 * np.array(wanted) / max(wanted), rtol=1e-13)


def test_medians_are_over_the_documented_window_with_reflected_ends(x64):
    g = np.exp(np.random.default_rng(1).standard_normal(60))
    half = int(0.1 * 60 / 2)  # 2 half + 1 = 7 norms
    padded = np.concatenate([g[:half][::-1], g, g[-half:][::-1]])
    smooth = np.array([np.median(padded[t : t + 2 * half + 1]) for t in range(60)])
    wanted = schedules.refined(smooth, smoothing=0).values
    np.testing.assert_allclose(schedules.refined(g).values, wanted, rtol=1e-14)
    spiked = g.copy()
    spiked[30] = 1e6  # one spike among seven norms moves a median, but does not enter it
    assert np.abs(np.asarray(schedules.refined(spiked).values - wanted)).max() < 0.5


def test_traced_norms_give_what_known_ones_give_and_bad_ones_nan(strict_promotion):
    traced = jax.jit(lambda g, peak: schedules.refined(g, peak_value=peak).values)
    g = np.exp(np.random.default_rng(2).standard_normal(200)).astype(np.float32)
    known = schedules.refined(g, peak_value=0.1)
    assert known.values.dtype == np.float32
    np.testing.assert_allclose(traced(g, 0.1), known.values, atol=1e-7)
    many = jax.vmap(lambda g: schedules.refined(g).values)(np.stack([g, 2 * g]))
    np.testing.assert_allclose(many[0], many[1], atol=1e-6)  # nothing depends on the unit
    for bad in (0.0, -1.0, np.nan, np.inf):
        g[7] = bad
        assert np.isnan(traced(g, 0.1)).all()


def test_a_refined_schedule_drives_an_optax_optimizer_and_is_clipped_at_its_ends():
    rate = schedules.refined(np.float32([4, 1, 1, 2]), smoothing=0)
    np.testing.assert_array_equal(
        rate(jnp.array([-5, 0, 3, 4, 99])), rate.values[jnp.array([0, 0, 3, 3, 3])]
    )
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=rate)

    def step(carry, _):
        x, state = carry
        update, state = optimizer.update(jnp.ones(()), state)
        return (optax.apply_updates(x, update), state), update

    start = jnp.zeros(()), optimizer.init(jnp.zeros(()))
    _, updates = jax.lax.scan(step, start, None, length=6)
    np.testing.assert_allclose(-updates, [*rate.values, 0, 0])


def test_the_last_iterate_of_convex_descent_keeps_the_bound_that_the_schedule_comes_from(x64):
    # f(x_T) - f(u) <= (|x_1 - u|^2 + sum w^2 |g|^2) / (2 sum w) for rates w sum_{p>t} w / sum w.
    generator = np.random.default_rng(4)
    problems, steps, closest = 300, 12, np.inf
    for _ in range(problems):
        slopes, offsets = generator.standard_normal((4, 2)), generator.standard_normal(4)
        norms = np.exp(generator.standard_normal(steps))
        w = generator.uniform(0.1, 3) * norms**-2
        peak = (w * (w.sum() - np.cumsum(w))).max() / w.sum()
        rates = schedules.refined(norms, smoothing=0, peak_value=peak).values
        x = start = generator.standard_normal(2)
        seen = []
        for rate in np.asarray(rates):
            active = slopes[(slopes @ x + offsets).argmax()]
            seen.append(active @ active)
            x = x - rate * active
        u = generator.standard_normal((50, 2))
        bound = (((start - u) ** 2).sum(1) + (w**2 * seen).sum()) / (2 * w.sum())
        excess = (slopes @ x + offsets).max() - (u @ slopes.T + offsets).max(1)
        assert (excess <= bound + 1e-12).all()
        closest = min(closest, (1 - excess / bound).min())
    assert closest < 0.3  # not by a bound that is far from all of them


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999, 1.0])
def test_areas_are_the_sums_that_define_them(decay, x64, strict_promotion):
    rates = np.abs(np.random.default_rng(3).standard_normal(23))
    s1, s2 = schedules.annealing_areas(rates, decay)
    np.testing.assert_allclose(s1, [rates[: s + 1].sum() for s in range(23)], rtol=1e-14)
    falls = [rates[k - 1] - rates[k] for k in range(1, 23)]
    double = [
        sum(falls[k - 1] * decay ** (i - k) for i in range(1, s + 1) for k in range(1, i + 1))
        for s in range(23)
    ]
    np.testing.assert_allclose(s2, double, atol=1e-13)


def test_areas_of_a_drop_and_the_sum_of_the_recursion_are_closed_forms(x64):
    high, low, at, decay = 0.02, 0.005, 300, 0.999
    rates = np.where(np.arange(1000) < at, high, low)
    _, s2 = schedules.annealing_areas(rates, decay)
    behind = np.arange(1, 1000 - at + 1)
    np.testing.assert_allclose(
        s2[at:], (high - low) * (1 - decay**behind) / (1 - decay), rtol=1e-11
    )
    np.testing.assert_array_equal(s2[:at], 0)

    cosine = optax.cosine_decay_schedule(0.02, 1000)
    rates = np.asarray(jax.vmap(cosine)(jnp.arange(1000)), np.float64)
    _, s2 = schedules.annealing_areas(rates, decay)
    memory = np.diff(np.asarray(s2), prepend=0.0)
    np.testing.assert_allclose((1 - decay) * s2, rates[0] - rates - decay * memory, atol=1e-15)


def test_warm_up_counts_at_the_rate_behind_it_and_batches_are_rows(x64):
    rates = np.array([0.1, 0.2, 0.5, 0.5, 0.25, 0.0])
    level = np.array([0.5, 0.5, 0.5, 0.5, 0.25, 0.0])
    for warmup in (2, 3):
        found = schedules.annealing_areas(rates, warmup=warmup)
        for one, other in zip(found, schedules.annealing_areas(level), strict=True):
            np.testing.assert_array_equal(one, other)
    early, _ = schedules.annealing_areas(rates, warmup=1)  # the rate behind, and not the largest
    assert early[0] == 0.2
    assert float(schedules.annealing_areas(rates)[1][2]) < 0  # rising rates count against it
    for pair in zip(*schedules.annealing_areas(np.stack([rates, level])), strict=True):
        assert all(one.shape == (6,) for one in pair)
    both = schedules.annealing_areas(np.stack([rates, level]), warmup=2)
    np.testing.assert_array_equal(both[0][0], both[0][1])


def test_areas_in_float32_are_near_those_in_float64_over_a_long_run():
    rates = 1e-3 * (1 + np.cos(np.pi * np.arange(20_000) / 20_000))
    single = schedules.annealing_areas(rates.astype(np.float32))
    with jax.enable_x64(True):
        double = schedules.annealing_areas(rates)
    for one, other in zip(single, double, strict=True):
        assert one.dtype == np.float32
        assert other.dtype == np.float64
        assert np.abs(np.asarray(one) - np.asarray(other)).max() < 2e-5 * np.abs(other).max()


GOOD = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: schedules.refined(np.arange(4)), TypeError, "gradient_norms must be a real float"),
        (lambda: schedules.refined(np.ones((2, 3))), ValueError, r"\(steps,\).*got \(2, 3\)"),
        (lambda: schedules.refined([1.0]), ValueError, r"at least 2 steps, got \(1,\)"),
        (lambda: schedules.refined([1.0, 0.0]), ValueError, r"positive, got 0.0 at index \(1,\)"),
        (lambda: schedules.refined([np.nan, 1.0]), ValueError, r"got nan at index \(0,\)"),
        (lambda: schedules.refined([1.0, -2.0]), ValueError, "got -2.0 at index"),
        (lambda: schedules.refined(GOOD, power=-1), ValueError, "power must be .* got -1"),
        (lambda: schedules.refined(GOOD, power="2"), TypeError, "power must be a real number"),
        (lambda: schedules.refined(GOOD, smoothing=1.5), ValueError, r"in \[0, 1\], got 1.5"),
        (lambda: schedules.refined(GOOD, peak_value=GOOD), ValueError, "peak_value .* scalar"),
        (lambda: schedules.annealing_areas([1, 2]), TypeError, "rates must be a real floating"),
        (lambda: schedules.annealing_areas(np.ones((2, 0))), ValueError, "at least 1 steps"),
        (lambda: schedules.annealing_areas([1.0, -0.1]), ValueError, "not negative, got -0.1"),
        (lambda: schedules.annealing_areas([1.0, np.inf]), ValueError, "finite .* got inf"),
        (lambda: schedules.annealing_areas(GOOD, 1.1), ValueError, r"decay .* \[0, 1\], got 1.1"),
        (lambda: schedules.annealing_areas(GOOD, np.ones(2)), ValueError, "decay must be a scalar"),
        (lambda: schedules.annealing_areas(GOOD, warmup=4), ValueError, "warmup .* 0 to 3, got 4"),
        (lambda: schedules.annealing_areas(GOOD, warmup=1.0), TypeError, "warmup .* whole number"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()

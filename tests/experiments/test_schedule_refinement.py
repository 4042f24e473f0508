"""Refinement: identities that notice a wrong schedule, a bound that can be broken, the figure."""

import dataclasses

import numpy as np
import pytest

from experiments import _claims, schedule_refinement
from experiments import _schedule_refinement_digits as digits
from experiments import _schedule_refinement_figure as drawing
from experiments._progress import Progress
from theorylab.optim import schedules

SMOKE = schedule_refinement.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return schedule_refinement.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return {c.name: _claims.verdict(c, preset) for c in schedule_refinement.claims(arrays)}


def test_the_smoke_preset_passes_its_identities_and_the_bound_and_judges_no_gain(arrays):
    found = list(verdicts(arrays, "smoke").values())
    assert (found.count("pass"), found.count("not tested"), len(found)) == (5, 3, 8)
    assert list(verdicts(arrays, "quick").values()).count("not tested") == 3
    assert all(np.isfinite(v).all() for name, v in arrays.items() if name != "sources")


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_what_is_off_is_a_miss_in_every_preset(arrays, preset):
    for name, wrong in (
        ("identity_flat", 1e-12), ("identity_digits", 1e-9), ("identity_characters", np.nan),
        ("bound_excess", arrays["bound"] * np.array([0.5, 1.01])),
        ("bound_excess", arrays["bound"] * np.array([-0.01, 0.5])),
    ):  # fmt: skip
        spoiled = arrays | {name: np.asarray(wrong)}
        assert list(verdicts(spoiled, preset).values()).count("MISS") == 1


@pytest.mark.parametrize(
    ("wrong", "noticed"),
    [("power", {"digits", "characters"}), ("shift", {"flat", "digits", "characters"}),
     ("window", {"digits", "characters"})],
)  # fmt: skip
def test_the_identities_notice_a_wrong_schedule(arrays, monkeypatch, wrong, noticed):
    right = schedules.refined

    def other(norms, *, power=2, smoothing=0.1):
        if wrong == "power":
            return right(norms, power=power + 1e-6, smoothing=smoothing)
        if wrong == "window":
            return right(norms, power=power, smoothing=2 * smoothing)
        found = right(norms, power=power, smoothing=smoothing)
        return schedules.Refined(np.roll(found.values, 1))

    monkeypatch.setattr(schedule_refinement.schedules, "refined", other)
    found = schedule_refinement.identities(arrays)
    assert {name for name, off in found.items() if not off <= 1e-12} == noticed


def test_gradients_of_the_digits_are_differences_of_the_loss_and_the_minimum_has_none():
    x, y = digits.images()
    assert (x.shape, (x[:, :-1] ** 2).sum(1).mean()) == ((1437, 65), pytest.approx(1))
    generator = np.random.default_rng(0)
    w, d = generator.standard_normal((2, 65, 10))
    _, slope = digits.loss_and_gradient(w, x, y, 0.1)
    ends = [digits.loss_and_gradient(w + sign * 1e-5 * d, x, y, 0.1)[0] for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx((slope * d).sum(), rel=1e-7)
    found = digits.least(0.01)
    value, slope = digits.loss_and_gradient(found["minimizer"], x, y, 0.01)
    assert np.linalg.norm(slope) < 1e-6
    assert value == found["least"]


def test_sgd_takes_the_steps_that_are_written_out_by_hand():
    import jax
    import jax.numpy as jnp

    config = dataclasses.replace(SMOKE, steps=5, batch=3, ridge=0.1)
    key = jax.random.key(7)
    rates = np.array([4.0, 2.0, 1.0, 0.5, 0.0])
    ends, norms = digits.sgd(config)(jnp.asarray(rates, jnp.float32)[None, None], key[None])
    x, y = digits.images()
    w, sizes = np.zeros((65, 10)), []
    for count, rate in enumerate(rates):
        rows = np.asarray(jax.random.randint(jax.random.fold_in(key, count), (3,), 0, len(y)))
        _, slope = digits.loss_and_gradient(w, x[rows], y[rows], 0.1)
        sizes.append(np.linalg.norm(slope))
        w = w - rate * slope
    np.testing.assert_allclose(norms[0, 0], sizes, rtol=1e-4)
    assert float(ends[0, 0]) == pytest.approx(digits.loss_and_gradient(w, x, y, 0.1)[0], rel=1e-5)


def test_refined_runs_take_the_schedule_of_the_run_with_the_same_rate(arrays):
    for prefix, power in (("", 2), ("char_", 1)):
        norms, refined = arrays[f"{prefix}norms"], arrays[f"{prefix}refined"]
        assert norms.shape == refined.shape
        wanted = schedules.refined(norms[-1, 1], power=power).values
        np.testing.assert_array_equal(refined[-1, 1], wanted)
        np.testing.assert_array_equal(refined.max(-1), 1)
    assert (arrays["linear_excess"] > 0).all()
    assert (arrays["linear_excess"] != arrays["refined_excess"]).all()
    assert (arrays["char_linear"] != arrays["char_second"]).all()


def test_gains_are_measured_at_each_schedules_own_best_rate(arrays):
    made = arrays | {
        "linear_excess": np.array([[2.0, 2.0], [1.0, 1.0]]),
        "refined_excess": np.array([[0.5, 0.5], [3.0, 3.0]]),
        "char_linear": np.array([[2.0, 2.2]]),
        "char_second": np.array([[1.9, 2.0]]),
    }
    found = {claim.name: claim for claim in schedule_refinement.claims(made)}
    assert found["digits: excess, refined over linear"].measured == pytest.approx(0.5)
    nats = found["characters: held-out nats, refined less linear"]
    assert (nats.measured, nats.error) == (pytest.approx(-0.15), pytest.approx(0.05))


def test_stages_have_a_cost_in_every_preset():
    for config in schedule_refinement.PRESETS.values():
        labels = schedule_refinement._costs(config)
        assert len(labels) == 4 + len(config.char_peaks) * config.char_seeds


def test_the_figure_is_drawn_and_has_words(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(schedule_refinement, arrays, "Data: digits.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000
    assert "docstrings of SciPy" in schedule_refinement.caption(arrays)
    words = schedule_refinement.alt(arrays)
    row = drawing.best(arrays["char_second"])
    assert f"{arrays['char_second'][row].mean():.3f} at 0.01 refined" in words

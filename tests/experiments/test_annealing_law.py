"""The annealing law: its identities notice errors, its errors are what they say, the figure."""

import numpy as np
import pytest

from experiments import _annealing_law_figure as errors
from experiments import _claims, annealing_law
from experiments._progress import Progress
from theorylab.optim import schedules

SMOKE = annealing_law.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return annealing_law.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return [_claims.verdict(claim, preset) for claim in annealing_law.claims(arrays)]


def test_the_smoke_preset_passes_its_identities_and_judges_no_prediction(arrays):
    assert verdicts(arrays, "smoke") == ["pass"] * 3 + ["not tested"] * 5
    assert verdicts(arrays, "quick").count("not tested") == 5
    assert all(np.isfinite(v).all() for name, v in arrays.items() if name != "data")


@pytest.mark.parametrize("name", ["parameters", "prediction", "areas"])
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, name):
    for preset in ("smoke", "quick", "paper"):
        for wrong in (1e-5, np.nan):
            spoiled = arrays | {f"identity_{name}": np.asarray(wrong)}
            assert verdicts(spoiled, preset).count("MISS") == 1


@pytest.mark.parametrize(
    ("wrong", "noticed"),
    [("fit", {"parameters", "prediction"}), ("areas", {"parameters", "prediction", "areas"})],
)
def test_the_identities_notice_a_wrong_formula(monkeypatch, wrong, noticed):
    fit, areas = schedules.fit_annealing_law, schedules.annealing_areas
    if wrong == "fit":  # the fit forgets a little slower than the curves
        monkeypatch.setattr(
            annealing_law.schedules, "fit_annealing_law",
            lambda curves, *, decay, warmup: fit(curves, decay=decay + 1e-4, warmup=warmup),
        )  # fmt: skip
    else:  # areas that start to count one step late
        monkeypatch.setattr(
            annealing_law.schedules, "annealing_areas",
            lambda rates, decay, *, warmup: areas(np.roll(rates, 1), decay, warmup=warmup),
        )  # fmt: skip
    config = annealing_law.Config(steps=80, warmup=4, every=8, first=16, decays=(0.9,))
    rates = {shape: annealing_law.learning_rates(shape, config) for shape in annealing_law.SHAPES}
    found = annealing_law.identities(rates, np.arange(8, 81, 8), config)
    assert {name.split("_")[1] for name, off in found.items() if not off <= 1e-6} == noticed


def test_schedules_share_their_warm_up_and_end_as_they_say():
    config = annealing_law.Config()
    rates = {shape: annealing_law.learning_rates(shape, config) for shape in annealing_law.SHAPES}
    for shape in annealing_law.SHAPES:
        np.testing.assert_array_equal(rates[shape][:30], rates["constant"][:30])
        assert rates[shape].shape == (600,)
        assert rates[shape].max() == config.peak
        assert rates[shape][0] == pytest.approx(config.peak / 30)
    assert rates["constant"][-1] == config.peak
    assert rates["cosine"][-1] == pytest.approx(0, abs=1e-4 * config.peak)
    assert rates["cosine"][315] == pytest.approx(config.peak / 2)
    np.testing.assert_array_equal(rates["wsd"][:450], rates["constant"][:450])
    np.testing.assert_allclose(rates["wsd"][450:], config.peak * np.arange(150, 0, -1) / 150)


def test_runs_share_start_and_batches_until_their_rates_part(arrays):
    parted = int(0.75 * SMOKE.steps)
    same = arrays["steps"] <= parted
    np.testing.assert_array_equal(arrays["wsd_losses"][:, same], arrays["constant_losses"][:, same])
    assert (arrays["wsd_losses"][:, -1] != arrays["constant_losses"][:, -1]).all()
    assert (arrays["wsd_losses"][0] != arrays["wsd_losses"][1]).all()


def test_laws_see_nothing_of_the_third_run_nor_of_the_start(arrays):
    spoiled = arrays | {"wsd_losses": 9 * arrays["wsd_losses"]}
    for shape in ("constant", "cosine"):
        spoiled[f"{shape}_losses"] = arrays[f"{shape}_losses"].copy()
        spoiled[f"{shape}_losses"][:, arrays["steps"] < SMOKE.first] *= 2
    laws = annealing_law._laws(spoiled, SMOKE)
    for name in ("parameters", "predicted", "residual", "status"):
        np.testing.assert_array_equal(laws[name], arrays[name])


def test_errors_are_those_of_the_predictions(arrays):
    losses = arrays["wsd_losses"].astype(float)
    made = arrays | {"predicted": np.stack([losses * 1.01, losses * 0.98], 1)}
    made["residual"] = np.array([[0.1, 0.2], [0.3, 0.1]])
    assert errors.paper_row(made) == 1
    assert errors.fitted_row(made) == 1
    np.testing.assert_allclose(errors.mean_error(made, 0), 0.01)
    np.testing.assert_allclose(errors.end_error(made, 1), -0.02)
    found = {claim.name: claim for claim in annealing_law.claims(made)}
    claim = found["lambda 0.999: relative error at the end"]
    assert (claim.measured, claim.error) == (pytest.approx(-0.02), pytest.approx(0, abs=1e-12))


def test_stages_have_a_cost_in_every_preset():
    for config in annealing_law.PRESETS.values():
        assert len(annealing_law._costs(config)) == 2 + 3 * config.seeds
        assert config.steps % config.every == 0


def test_the_figure_is_drawn_and_has_words(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(annealing_law, arrays, "Data: text.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000
    assert "SHA-256" in annealing_law.caption(arrays)
    assert f"{arrays['wsd_losses'][:, -1].mean():.3f} (stable" in annealing_law.alt(arrays)

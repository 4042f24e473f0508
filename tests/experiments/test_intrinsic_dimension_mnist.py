"""Intrinsic dimensions of MNIST: claims that can fail, programs that agree, a figure with words."""

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import _intrinsic_dimension_mnist_claims as claimed
from experiments import _subspace_training as training
from experiments import intrinsic_dimension_mnist as module


def made(shift=1.0, full=False, offset=0.0):
    """Arrays of an ideal run: the wider network needs ``shift`` times as many dimensions."""
    names = ["FC 2 x 50", "FC 2 x 400", module.MIDDLE, "LeNet"]
    ds = np.array([100, 200, 500, 750, 1000])

    def runs(scale):
        return 0.93 - 0.28 * np.exp(-ds / (300 * scale)) + 0.002 * np.arange(-1, 2)[:, None]

    scales = {"FC 2 x 50": 1.0, "FC 2 x 400": shift, module.MIDDLE: 1.0, "LeNet": 0.4}
    arrays = {
        "full": np.asarray(full),
        "names": np.array(names),
        "widths": np.array(names[:2]),
        "sizes": np.array([42_310, 478_410, 199_210, 44_426]),
        "steps": np.asarray(930),
        "reference": np.array(list(module.REFERENCE.values())) + offset + np.zeros((3, 1)),
        "nested_apart": np.asarray(0.0),
    }
    for name in names:
        arrays |= {
            f"{name}: ds": ds,
            f"{name}: test": runs(scales[name]),
            f"{name}: direct test": np.full(3, 0.94),
            f"{name}: direct rate": np.asarray(1e-3),
            f"{name}: subspace rate": np.asarray(0.05),
        }
    return arrays | module.dimensions(arrays)


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [claim.name for claim in found if _claims.verdict(claim, preset) == "MISS"]


def test_widths_that_agree_pass_and_others_miss():
    assert missed(made()) == []
    assert missed(made(shift=1.2)) == []
    assert missed(made(shift=1.4)) == ["widths: largest over smallest d at the common threshold"]
    assert len(missed(made(offset=0.04))) == len(module.REFERENCE)


def test_the_papers_numbers_bind_with_the_full_set_alone():
    names = {claim.name for claim in module.claims(made(full=True)) if claim.binds}
    assert {f"{name}: d at an accuracy of 0.90" for name in (module.MIDDLE, "LeNet")} <= names
    assert not [claim for claim in module.claims(made()) if "0.90" in claim.name and claim.binds]


def test_crossings_are_linear_between_dimensions():
    assert training.crossing([10, 20], np.array([0.5, 1.0]), 0.75) == 15
    assert training.crossing([10, 20], np.array([0.8, 1.0]), 0.75) == 10
    assert np.isnan(training.crossing([10, 20], np.array([0.1, 0.2]), 0.75))
    assert claimed.spread(made())[0] == pytest.approx(1.0)


def test_sizes_are_the_papers():
    sizes = {name: training.size(training.named(name)) for name in ("FC 1 x 50", "FC 5 x 400")}
    assert sizes == {"FC 1 x 50": 39_760, "FC 5 x 400": 959_610}
    assert training.size(training.named("FC 2 x 200")) == 199_210
    assert training.size(training.lenet()) == 44_426


def test_a_banded_product_is_the_convolution():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 12, 12, 3)).astype(np.float32)
    layer = {"kernel": rng.normal(size=(5, 5, 3, 4)), "bias": rng.normal(size=4)}
    layer = {name: value.astype(np.float32) for name, value in layer.items()}

    @jax.jit
    def both(layer, x):
        wanted = jax.lax.conv_general_dilated(
            x, layer["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=training.HIGHEST,
        )  # fmt: skip
        wanted = jax.nn.relu(wanted + layer["bias"]).reshape(2, 4, 2, 4, 2, 4).max((2, 4))
        return training.convolved(layer, x), wanted

    np.testing.assert_allclose(*both(layer, x), rtol=1e-5, atol=1e-5)


def test_each_epoch_sees_every_image_once():
    rows = training.minibatches(np.random.default_rng(0), 7, 4, 12)
    assert rows.shape == (7, 4)
    assert sorted(rows[:3].ravel()) == sorted(rows[3:6].ravel()) == list(range(12))


def test_figure_caption_and_words():
    figure = module.figure(made())
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    assert "MNIST-5k" in module.caption(made())
    assert "the full MNIST" in module.caption(made(full=True))
    assert "FC 2 x 50" in module.alt(made())

"""Ten sums of a thousand parameters: claims that can fail, a figure with words."""

import numpy as np

from experiments import _claims
from experiments import intrinsic_dimension_toy as module


def made(first=10, cut=0.0, nested=0.0):
    """Arrays of an ideal run whose loss vanishes from ``first`` on."""
    ds = np.array([5, 9, 10, 12, 50])
    share = np.where(ds < first, np.clip(1 - ds / 10, 0.01, 1), 0.0)
    share = np.broadcast_to(share, (2, 8, 5))
    return {
        "ds": ds,
        "kinds": np.array(["hadamard", "dense_gaussian"]),
        "share": share,
        "loss": 1000 * share,
        "share_cut": share[0] + cut,
        "loss_cut": 1000 * share[0],
        "loss_leaf": 1000 * share[0],
        "nested_apart": np.asarray(nested),
    }


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [claim.name for claim in found if _claims.verdict(claim, preset) == "MISS"]


def test_ten_dimensions_pass_and_nine_or_twelve_miss():
    assert missed(made()) == []
    assert any("d <= 9" in name for name in missed(made(first=9)))
    late = missed(made(first=12))
    assert any("d = 10..50" in name for name in late)
    assert any("for each leaf" in name for name in late)
    assert len(missed(made(cut=1e-6))) == len(missed(made(nested=1e-6))) == 1


def test_the_law_is_that_of_random_subspaces():
    draws = np.random.default_rng(0).normal(size=(20_000, 10, 3))
    q = np.linalg.qr(draws)[0]
    share = 1 - (q[:, 0] ** 2).sum(1)  # of the first unit vector
    mean, error = module.law(np.array([3]), 1)
    np.testing.assert_allclose([share.mean(), share.std()], [mean[0], error[0]], rtol=0.02)


def test_cutting_keeps_the_order_and_the_sums():
    vector = np.arange(1000.0)
    np.testing.assert_array_equal(module.sums(module.cut(vector)), module.sums(vector))


def test_figure_caption_and_words():
    figure = module.figure(made())
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)"]
    assert "d = 10 on" in module.caption(made())
    assert "at least 1.0000" in module.alt(made())

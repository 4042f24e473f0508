"""Kernels of the muP limit in training: claims that can fail, and what they are made of."""

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import _kernel_evolution_networks as networks
from experiments import kernel_evolution as module
from experiments._progress import Progress

Y = np.array([1.0, 1.0, -1.0, -1.0])
LIMIT = np.eye(4) + 0.2 * np.outer(Y, Y)


def made(rich=0.0, tangent=-1.0, gain=0.5):
    """Arrays with kernels that move to the targets in a known way, as `run` gives them."""
    times = np.arange(5)
    signs = np.array([-1.0, 1.0, -1.0, 1.0])

    def moving(widths, exponent, size):
        power = np.power(widths / widths[0], exponent)
        path = size * power[:, None, None] * times / 4 * (1 + 0.01 * signs[:, None])
        noise = 0.01 * signs[:, None, None, None] * LIMIT
        return LIMIT + noise + path[..., None, None] * np.outer(Y, Y)

    widths, narrow = np.array([256, 1024]), np.array([32.0, 128.0])
    ntk = moving(widths.astype(float), rich, gain)
    return {
        "widths": widths, "tangent_widths": narrow.astype(int), "times": times,
        "tangent_times": times, "classes": np.array([3, 8]), "axes": np.asarray(3),
        "rate": np.asarray(1.0), "target": Y, "limit": LIMIT, "jacobian_gap": np.asarray(0.0),
        "ntk": ntk, "feature": np.stack([ntk, ntk], axis=3), "loss": np.ones((2, 4, 5)),
        "status": np.zeros((2, 4, 5), int), "tangent": moving(narrow, tangent, 0.1),
        "frozen": networks.frozen(LIMIT, Y, 1.0, 4),
    }  # fmt: skip


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_what_is_claimed_passes_and_other_exponents_miss():
    assert missed(made()) == []
    assert missed(made(rich=-0.25)) == [2, 3]
    assert missed(made(tangent=-0.75)) == missed(made(tangent=-1.25)) == [5]


def test_kernels_that_turn_away_or_hardly_move_are_a_miss():
    assert missed(made(gain=-0.1)) == [0, 1]
    assert missed(made(gain=0.005)) == [4]


def test_a_start_elsewhere_is_a_miss():
    assert missed(made() | {"limit": 1.05 * LIMIT}) == [6]


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        ("tangent", 1e-9 * np.eye(4)[[1, 2, 3, 0]], 7),
        ("tangent", -1.0 * np.eye(4), 8),
        ("jacobian_gap", 1e-9, 9),
        ("status", 1, 10),
    ],
)
def test_an_identity_that_is_off_is_a_miss_in_every_preset(name, change, place):
    arrays = made()
    for preset in ("smoke", "quick", "paper"):
        assert place in missed(arrays | {name: arrays[name] + change}, preset)


def test_alignment_is_one_for_the_targets_own_kernel_and_small_for_the_identity():
    np.testing.assert_allclose(module.alignment(3 * np.outer(Y, Y), Y), 1)
    np.testing.assert_allclose(module.alignment(np.stack([np.eye(4)] * 2), Y), [0.5, 0.5])


def test_losses_under_a_fixed_kernel_are_those_of_its_eigenvectors():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    kernel = root @ root.T
    values, vectors = np.linalg.eigh(kernel)
    left = (1 - 0.3 / 4 * values[None, :]) ** np.arange(6)[:, None] * (Y @ vectors)
    found = networks.frozen(kernel, Y, 0.3, 5)
    np.testing.assert_allclose(found, 0.5 * (left**2).mean(1), rtol=1e-12)


def test_images_are_of_norm_one_in_two_classes():
    x, y = networks.images((3, 8), 5, 6)
    assert x.shape == (10, 6) and y.tolist() == [1.0] * 5 + [-1.0] * 5
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1)
    assert len(np.unique(x[:, 0])) == 10


def test_figure_caption_and_words():
    figure = module.figure(made())
    assert len(figure.get_axes()) + sum(len(s.axes) for s in figure.subfigs) >= 7
    assert "4 digits, 3 and 8" in module.caption(made())
    assert "at 1024 in muP" in module.alt(made())


@pytest.mark.slow
def test_the_smoke_preset_passes_its_identities():
    with jax.enable_x64(True):
        found = module.run(module.PRESETS["smoke"], Progress())
    assert set(found) == set(made())
    assert missed({name: np.asarray(value) for name, value in found.items()}, "smoke") == []

"""Predictions from kernels against neural-tangents 0.6.5 (generate_nt_predict.py).

Its conventions and ours: it divides time by points times outputs, we by points; its ridge is
relative to the mean diagonal, ours is absolute; at training points its ridge slows the residual but
does not change where it ends, so those are compared without a ridge only (ours agree at training
points with its own predictions at test points that are the training points).
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import digest  # noqa: E402

NETWORKS = ("erf", "relu", "close")
REGS = ("0.0", "0.03")
CLOSED, ODE = 1e-10, 1e-6


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


class Given(NamedTuple):
    arrays: dict
    name: str
    train: Pair
    cross: Pair
    test: Pair
    y: np.ndarray
    f0: np.ndarray
    f0_test: np.ndarray
    rate: float

    @property
    def outputs(self):
        return self.y.shape[1]

    def times(self, which="times"):
        """The predecessor's times in our unit."""
        return self.arrays[which] / self.outputs

    def ridge(self, reg, kernel):
        return float(reg) * np.trace(kernel) / len(kernel)

    def theirs(self, key):
        return self.arrays[f"{self.name}/{key}"]


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "nt_predict.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(params=NETWORKS)
def given(request, stored, x64):
    name = request.param

    def pair(where):
        return Pair(*(stored[f"{name}/kernels/{where}/{which}"] for which in ("nngp", "ntk")))

    inputs = (stored[f"inputs/{key}"] for key in ("y", "f0_train", "f0_test"))
    kernels = (pair(where) for where in ("train", "cross", "test"))
    return Given(stored, name, *kernels, *inputs, float(stored["learning_rate"]))


def assert_close(ours, theirs, bound):
    """Relative to the largest entry of each prediction (the leading axis, if any, is time)."""
    assert ours.shape == theirs.shape
    axes = tuple(range(theirs.ndim - 2, theirs.ndim))
    scale = np.abs(theirs).max(axis=axes, keepdims=True)
    # A prediction of exactly zero, at time zero, must be zero.
    excess = np.abs(ours - theirs) - bound * scale
    assert excess.max() <= 0, f"error {(np.abs(ours - theirs) / (scale + 1e-300)).max():.1e}"


def test_the_file_was_made_by_the_sources_that_stand_here(stored):
    assert str(stored["digest"]) == digest(here / "generate_nt_predict.py")
    assert "neural_tangents==0.6.5" in stored["versions"]


def test_the_harder_network_is_hard_and_within_the_promise(stored):
    values = np.linalg.eigvalsh(stored["close/kernels/train/ntk"])
    assert 1e4 < values[-1] / values[0] < 1e6


@pytest.mark.parametrize("reg", REGS)
def test_gradient_flow_from_a_given_start_equals_gradient_descent_mse(given, reg):
    ridge = given.ridge(reg, given.train.ntk)
    flow = predict.gradient_flow(given.train.ntk, given.y, learning_rate=given.rate, ridge=ridge)
    t = np.append(given.times(), np.inf)
    ours = flow(t, given.cross.ntk, None, given.f0, given.f0_test)
    assert_close(ours.mean, given.theirs(f"mse/{reg}/test"), CLOSED)
    if reg == "0.0":
        assert_close(flow(t, f0_train=given.f0).mean, given.theirs("mse/train"), CLOSED)


@pytest.mark.parametrize("reg", REGS)
def test_ntk_ensembles_agree_in_mean_and_covariance(given, reg):
    ridge = given.ridge(reg, given.train.ntk)
    flow = predict.gradient_flow(given.train, given.y, learning_rate=given.rate, ridge=ridge)
    ours = flow(np.append(given.times(), np.inf), given.cross, given.test)
    assert_close(ours.mean, given.theirs(f"ensemble/ntk/{reg}/mean"), CLOSED)
    assert_close(ours.cov, given.theirs(f"ensemble/ntk/{reg}/cov"), CLOSED)
    if reg == "0.0":
        here = flow(given.times())
        assert_close(here.mean, given.theirs("ensemble/ntk/train/mean"), CLOSED)
        # Without test points the covariance decays to 0: its scale is that of the start.
        np.testing.assert_allclose(here.cov, given.theirs("ensemble/ntk/train/cov"), atol=1e-12)


@pytest.mark.parametrize("reg", REGS)
def test_nngp_ensembles_are_pairs_whose_ntk_is_the_nngp(given, reg):
    # Only the readout is trained: the tangent kernel is the NNGP. The predecessor's ridge is then
    # noise in the targets too, different in every network: it adds to the training covariance.
    k, cross, test = given.train.nngp, given.cross.nngp, given.test.nngp
    ridge = given.ridge(reg, k)
    noisy = Pair(k + ridge * np.eye(len(k)), k)
    flow = predict.gradient_flow(noisy, given.y, learning_rate=given.rate, ridge=ridge)
    ours = flow(np.append(given.times(), np.inf), Pair(cross, cross), test)
    assert_close(ours.mean, given.theirs(f"ensemble/nngp/{reg}/mean"), CLOSED)
    assert_close(ours.cov, given.theirs(f"ensemble/nngp/{reg}/cov"), CLOSED)
    if reg == "0.0":
        here = flow(given.times())
        assert_close(here.mean, given.theirs("ensemble/nngp/train/mean"), CLOSED)
        np.testing.assert_allclose(here.cov, given.theirs("ensemble/nngp/train/cov"), atol=1e-12)


@pytest.mark.parametrize("reg", REGS)
def test_posteriors_equal_gp_inference(given, reg):
    pick = {"nngp": lambda k: k.nngp, "ntkgp": lambda k: k.ntk}
    for which, of in pick.items():
        kernels = [of(k) for k in (given.train, given.cross, given.test)]
        noise = given.ridge(reg, kernels[0])
        ours = predict.posterior(*kernels, given.y, noise=noise)
        assert_close(ours.mean, given.theirs(f"inference/{which}/{reg}/mean"), CLOSED)
        assert_close(ours.cov, given.theirs(f"inference/{which}/{reg}/cov"), CLOSED)
    ridge = given.ridge(reg, given.train.ntk)
    ours = predict.gradient_flow(given.train, given.y, ridge=ridge)(np.inf, given.cross, given.test)
    assert_close(ours.mean, given.theirs(f"inference/ntk/{reg}/mean"), CLOSED)
    assert_close(ours.cov, given.theirs(f"inference/ntk/{reg}/cov"), CLOSED)


def mse(f, y):
    return 0.5 * jnp.mean((f - y) ** 2)


def cross_entropy(f, y):
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(f) * y, axis=1))


@pytest.mark.parametrize("loss", [mse, cross_entropy], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_gradient_descent_under_a_loss_equals_the_predecessors(given, loss, momentum):
    # Here the loss is the same function, and so is time.
    descent = predict.gradient_descent(
        loss, given.train.ntk, given.y, learning_rate=given.rate, momentum=momentum
    )
    times = given.arrays["ode_times"]
    label = f"ode/{loss.__name__}/{momentum}"
    test = descent(times, given.f0, given.f0_test, given.cross.ntk)
    assert test.status == 0
    assert_close(test.mean, given.theirs(f"{label}/test"), ODE)
    state, status = descent.state(times[-1], given.f0, given.f0_test, given.cross.ntk)
    assert status == 0
    assert_close(state.f_train, given.theirs(f"{label}/train")[-1], ODE)
    if momentum is not None:
        # The predecessor's auxiliary state is the derivative in time times sqrt(learning rate).
        unit = np.sqrt(given.rate)
        for ours, theirs in (
            (state.velocity_train, given.theirs(f"{label}/q_train")),
            (state.velocity_test, given.theirs(f"{label}/q_test")),
        ):
            np.testing.assert_allclose(ours, unit * theirs, atol=ODE)


def test_the_largest_learning_rate_equals_the_predecessors_with_one_output(given):
    rates = [predict.max_learning_rate(given.train, momentum=m) for m in given.arrays["momenta"]]
    np.testing.assert_allclose(rates, given.theirs("max_learning_rate"), rtol=CLOSED)

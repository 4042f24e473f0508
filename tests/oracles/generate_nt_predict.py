"""Writes nt_predict.npz: predictions by neural-tangents 0.6.5, in float64, from the same kernels.

Runs in the isolated environment that make.sh builds (``make oracles``). Arrays, for each network
NAME, in the predecessor's own conventions (its time is divided by the number of outputs as well):

* ``NAME/kernels/...``: the kernels of its own engine that all predictions start from;
* ``NAME/mse/REG/test``, ``NAME/mse/train``: gradient_descent_mse at ``times`` and (last) infinity,
  from a given start, at test points with relative ridge REG, at training points without;
* ``NAME/ensemble/WHICH/REG/mean`` and ``cov``: gradient_descent_mse_ensemble likewise, and
  ``NAME/ensemble/WHICH/train/mean`` and ``cov`` (finite times only) without ridge;
* ``NAME/inference/WHICH/REG/mean`` and ``cov``: gp_inference, WHICH of nngp, ntk, ntkgp;
* ``NAME/ode/LOSS/MOMENTUM/train`` and ``test``: gradient_descent at ``ode_times``, and the
  auxiliary state at the last of them (``q_train``, ``q_test``) where there is momentum;
* ``NAME/max_learning_rate``: for ``momenta``.

Beside them the inputs (``inputs/...``), ``digest`` of the sources that made the file, and
``versions``.
"""

# ruff: noqa: T201

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import digest  # noqa: E402

SOURCES = (here / "generate_nt_predict.py",)
N, M, C, D = 16, 6, 3, 10
TIMES = (0.0, 1e-3, 0.7, 20.0, 1e4)
ODE_TIMES = (0.5, 4.0, 60.0)
REGS = (0.0, 0.03)
RATE, MOMENTA = 1.3, (0.0, 0.9)


def networks(stax):
    """Three small networks whose kernels are conditioned well enough for comparison at 1e-10.

    The last meets two training points close to one another.
    """
    return {
        "erf": stax.serial(stax.Dense(1, 1.4, 0.2), stax.Erf(), stax.Dense(1, 1.3, 0.1)),
        "relu": stax.serial(
            stax.Dense(1, 1.5, 0.1),
            stax.Relu(),
            stax.Dense(1, 1.4, 0.1),
            stax.Relu(),
            stax.Dense(1, 1.2, 0.05),
        ),
        "close": stax.serial(stax.Dense(1, 1.4, 0.2), stax.Erf(), stax.Dense(1, 1.3, 0.1)),
    }


def losses():
    """Losses as the predecessor takes them: the mean over points and outputs."""
    return {
        "mse": lambda f, y: 0.5 * jnp.mean((f - y) ** 2),
        "cross_entropy": lambda f, y: -jnp.mean(jnp.sum(jax.nn.log_softmax(f) * y, axis=1)),
    }


def main():
    """Compute every prediction and write the file."""
    jax.config.update("jax_enable_x64", True)
    import neural_tangents as nt

    rng = np.random.default_rng(4)
    x, x_test = rng.normal(size=(N, D)), rng.normal(size=(M, D))
    y = np.eye(C)[rng.integers(0, C, N)] + 0.1 * rng.normal(size=(N, C))
    f0, f0_test = rng.normal(size=(N, C)), rng.normal(size=(M, C))
    arrays = {"inputs/y": y, "inputs/f0_train": f0, "inputs/f0_test": f0_test}
    arrays |= {"times": np.array(TIMES), "ode_times": np.array(ODE_TIMES)}
    arrays |= {"momenta": np.array(MOMENTA), "learning_rate": np.array(RATE)}

    for name, (_, _, kernel_fn) in networks(nt.stax).items():
        if name == "close":
            x[1] = x[0] + 0.02 * rng.normal(size=D)
        get = ("nngp", "ntk")
        k, cross, test = (
            kernel_fn(x, None, get),
            kernel_fn(x_test, x, get),
            kernel_fn(x_test, None, get),
        )
        for where, kernel in (("train", k), ("cross", cross), ("test", test)):
            for which in get:
                arrays[f"{name}/kernels/{where}/{which}"] = getattr(kernel, which)
        for reg in REGS:
            for which in get:
                values = np.linalg.eigvalsh(getattr(k, which))
                ridge = reg * values.mean()
                condition = (values[-1] + ridge) / (values[0] + ridge)
                print(f"{name} {which} {reg}: condition {condition:.1e}")
                assert condition <= 1e6

        for reg in REGS:
            predict = nt.predict.gradient_descent_mse(k.ntk, y, RATE, reg)
            finite = predict(np.array(TIMES), f0, f0_test, cross.ntk)
            infinite = predict(None, f0, f0_test, cross.ntk)
            arrays[f"{name}/mse/{reg}/test"] = np.stack([*finite[1], infinite[1]])
            if reg == 0:
                arrays[f"{name}/mse/train"] = np.stack([*finite[0], infinite[0]])

            predict = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y, RATE, reg)
            for which in get:
                finite = predict(np.array(TIMES), x_test, which, True)
                infinite = predict(None, x_test, which, True)
                for i, part in enumerate(("mean", "cov")):
                    both = np.stack([*finite[i], infinite[i]])
                    arrays[f"{name}/ensemble/{which}/{reg}/{part}"] = both
                if reg == 0:
                    at_train = predict(np.array(TIMES), None, which, True)
                    for i, part in enumerate(("mean", "cov")):
                        arrays[f"{name}/ensemble/{which}/train/{part}"] = at_train[i]

            predict = nt.predict.gp_inference(k, y, reg)
            for which in (*get, "ntkgp"):
                mean, cov = predict(which, cross, test)
                arrays[f"{name}/inference/{which}/{reg}/mean"] = mean
                arrays[f"{name}/inference/{which}/{reg}/cov"] = cov

        for loss_name, loss in losses().items():
            for momentum in (None, 0.9):
                predict = nt.predict.gradient_descent(loss, k.ntk, y, RATE, momentum)
                start = nt.predict.ODEState(f0, f0_test)
                state = predict(np.array(ODE_TIMES), start, None, cross.ntk)
                label = f"{name}/ode/{loss_name}/{momentum}"
                arrays[f"{label}/train"], arrays[f"{label}/test"] = state.fx_train, state.fx_test
                if momentum is not None:
                    arrays[f"{label}/q_train"] = state.qx_train[-1]
                    arrays[f"{label}/q_test"] = state.qx_test[-1]

        arrays[f"{name}/max_learning_rate"] = np.array(
            [float(nt.predict.max_learning_rate(k.ntk, N, m)) for m in MOMENTA]
        )

    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    for key, value in arrays.items():
        assert value.dtype == np.float64, key
        assert np.isfinite(value).all(), key
    versions = {m.__name__: m.__version__ for m in (nt, jax, np)}
    arrays["versions"] = np.array([f"{k}=={v}" for k, v in versions.items()])
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "nt_predict.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {len(arrays)} arrays, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

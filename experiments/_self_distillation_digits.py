r"""Self-distillation with the NTK of the small digits, and what must hold exactly of it.

Images are the 8 x 8 digits that come with scikit-learn, less the mean of their training set, each
scaled to norm 8; targets are centred one-hot labels. The kernel is the NTK of an infinitely wide
network with two hidden ReLU layers, W_std^2 = 2 in them and 1 in the readout, no bias. A *level* is
a share of training images whose label is replaced by one of the ten drawn at random; validation and
test images keep theirs.

Identities, in float64, with :math:`a_i = d_i / (d_i + \lambda)` for the eigenvalues :math:`d_i` of
the kernel, the weight :math:`\alpha` of the true targets and generations t = 1, 2, ...:

1. generation t multiplies the targets' i-th coordinate by
   :math:`(1 - \alpha)^{t-1} a_i^t + \alpha \sum_{j=0}^{t-2} (1 - \alpha)^j a_i^{j+1}`, which the
   recursion in ``predict`` never forms;
2. the limit is ridge regression with :math:`\lambda / \alpha`, solved directly;
3. no weight on a fine grid over [0, 1] does better than the one chosen, at any generation, when
   the generation is predicted by direct solution.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

import theorylab.kernels as tk
from experiments._networks import W_STD, one_hot
from theorylab import data, predict

CLASSES = 10
GRID = np.linspace(0, 1, 501)  # of the third identity


class Digits(NamedTuple):
    """Images (n, 64) of norm 8, float64, and labels, of the three sets."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class Kernels(NamedTuple):
    """NTK of the training images, (n, n), and of the others with them, (m, n)."""

    train: Any
    val: Any
    test: Any


def digits(train: int, val: int, test: int) -> Digits:
    """Return the first training images, those behind them for validation, and test images.

    Raises
    ------
    ValueError
        More images are asked for than there are, or none.

    Examples
    --------
    >>> found = digits(5, 3, 2)
    >>> found.x_val.shape, [round(float(v)) for v in (found.x_test**2).sum(1)]
    ((3, 64), [64, 64])
    """
    used = data.digits()
    if min(train, val, test) < 1 or train + val > len(used.x_train) or test > len(used.x_test):
        raise ValueError(
            f"train and val must fit into {len(used.x_train)} images and test into "
            f"{len(used.x_test)}, got {train}, {val} and {test}"
        )
    mean = used.x_train.mean(axis=0, dtype=np.float64).ravel()

    def prepared(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1) - mean
        return x * np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)

    last = train + val
    return Digits(
        prepared(used.x_train[:train]), used.y_train[:train],
        prepared(used.x_train[train:last]), used.y_train[train:last],
        prepared(used.x_test[:test]), used.y_test[:test],
    )  # fmt: skip


def kernels(used: Digits) -> Kernels:
    """Return the NTK of the images."""
    hidden = [tk.Dense(512, W_std=W_STD), tk.Relu()] * 2
    net = tk.serial(*hidden, tk.Dense(CLASSES))
    others = net.kernel(np.concatenate([used.x_val, used.x_test]), used.x_train).ntk
    val, test = np.split(np.asarray(others), [len(used.x_val)])
    return Kernels(np.asarray(net.kernel(used.x_train).ntk), val, test)


def replaced(labels: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Return labels of which a share of `level` is drawn at random from all ten.

    Examples
    --------
    >>> labels = replaced(np.zeros(1000, int), 0.3, 0)
    >>> bool(abs((labels != 0).mean() - 0.27) < 0.05)  # one in ten is drawn as it was
    True
    """
    generator = np.random.default_rng(seed)
    struck = generator.random(len(labels)) < level
    return np.where(struck, generator.integers(0, CLASSES, len(labels)), labels)


def distilled(k: Kernels, used: Digits, labels: np.ndarray, config: Any) -> dict[str, np.ndarray]:
    """Return the curves of every weight, and of weights chosen on the validation images.

    Parameters
    ----------
    k, used
        Kernels and images.
    labels
        Labels of the training images, (n,), of which some may be wrong.
    config
        ``ridge`` over the mean diagonal, ``steps`` and ``alphas``.

    Returns
    -------
    dict
        ``train``, ``val``, ``test``: mean squared errors, (alphas + 1, steps + 1), the last row for
        the chosen weights, the last column for the limit (which keeps the last weight);
        ``accuracy`` on test images, likewise; ``weights`` chosen, (steps,).
    """
    ridge = config.ridge * np.diag(k.train).mean()
    y, y_val, y_test = (one_hot(found).astype(float) for found in (labels, used.y_val, used.y_test))
    chosen = predict.distillation_weights(k.train, y, k.val, y_val, ridge=ridge, steps=config.steps)
    _must_succeed(chosen.status, "choosing weights")
    others = np.concatenate([k.val, k.test])
    curves: dict[str, list[Any]] = {name: [] for name in ("train", "val", "test", "accuracy")}
    for alpha in (*config.alphas, chosen.alpha):
        found = predict.self_distillation(
            k.train, y, ridge=ridge, alpha=alpha, steps=config.steps, k_test_train=others
        )
        _must_succeed(found.status, "self-distillation")
        assert found.test_fits is not None and found.test_limit is not None
        fits = np.concatenate([found.fits, found.limit[None]])
        guess = np.concatenate([found.test_fits, found.test_limit[None]])
        val, test = np.split(guess, [len(used.x_val)], axis=1)
        for name, values in (
            ("train", ((fits - y) ** 2).mean(axis=(1, 2))),
            ("val", ((val - y_val) ** 2).mean(axis=(1, 2))),
            ("test", ((test - y_test) ** 2).mean(axis=(1, 2))),
            ("accuracy", (test.argmax(axis=2) == used.y_test).mean(axis=1)),
        ):
            curves[name].append(values)
    return {name: np.stack(rows) for name, rows in curves.items()} | {
        "weights": np.asarray(chosen.alpha)
    }


def identities(k: Kernels, used: Digits, labels: np.ndarray, config: Any) -> dict[str, Any]:
    """Return {name: relative difference} of the identities above, for the labels (n,)."""
    ridge = config.ridge * np.diag(k.train).mean()
    y, y_val = (one_hot(found).astype(float) for found in (labels, used.y_val))
    values, vectors = linalg.eigh(k.train)
    a = values / (values + ridge)
    solver = linalg.inv(k.train + ridge * np.eye(len(y)))
    worst = {"generations": 0.0, "limit": 0.0}
    for alpha in config.alphas:
        found = predict.self_distillation(k.train, y, ridge=ridge, alpha=alpha, steps=config.steps)
        for t, fit in enumerate(np.asarray(found.fits), start=1):
            j = np.arange(t - 1)[:, None]
            b = (1 - alpha) ** (t - 1) * a**t + alpha * ((1 - alpha) ** j * a ** (j + 1)).sum(0)
            wanted = vectors @ (b[:, None] * (vectors.T @ y))
            worst["generations"] = max(worst["generations"], _apart(fit, wanted))
        if alpha > 0:
            raised = k.train + ridge / alpha * np.eye(len(y))
            wanted = k.train @ linalg.solve(raised, y, assume_a="pos")
            worst["limit"] = max(worst["limit"], _apart(found.limit, wanted))
    chosen = predict.distillation_weights(k.train, y, k.val, y_val, ridge=ridge, steps=config.steps)
    teacher, behind = y, []
    for alpha, loss in zip(np.asarray(chosen.alpha), np.asarray(chosen.losses), strict=True):
        u, v = k.val @ (solver @ y), k.val @ (solver @ teacher)
        grid = np.array([((y_val - x * u - (1 - x) * v) ** 2).mean() for x in GRID])
        direct = ((y_val - alpha * u - (1 - alpha) * v) ** 2).mean()
        behind.append(max(loss - grid.min(), abs(loss - direct)) / direct)
        teacher = k.train @ (solver @ (alpha * y + (1 - alpha) * teacher))
    return worst | {"weights": np.max(behind)}


def _apart(found: Any, wanted: np.ndarray) -> float:
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def _must_succeed(status: Any, words: str) -> None:
    if status != predict.Status.SUCCESS:
        raise ArithmeticError(f"{words} reports {predict.Status(int(status)).name}")

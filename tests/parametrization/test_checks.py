"""The coordinate check, the spectral check and the sweep of rates."""

import io
import subprocess
import sys
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import parametrization as mup
from theorylab.parametrization import (
    AxisRoles,
    LeafSpec,
    Sweep,
    Table,
    coord_check,
    drift,
    lr_sweep,
    plots,
    slopes,
    spectral_check,
)

X = jax.random.normal(jax.random.key(3), (8, 5))
Y = jnp.sin(X[:, :2])


def init_of(n):
    def init(key):
        k = jax.random.split(key, 3)
        return {
            "a": jax.random.normal(k[0], (5, n)) / 5**0.5,
            "b": jax.random.normal(k[1], (n, n)) / n**0.5,
            "c": jax.random.normal(k[2], (n, 2)) / n**0.5,
        }

    return init


def linear(n):
    def apply(w, x):
        first = x @ w["a"]
        second = first @ w["b"]
        # in no alphabetical order, as jit would have it
        return {"z": first, "h": second, "a": second @ w["c"]}

    return init_of(n), apply


def test_the_table_is_what_numpy_computes_for_a_linear_network():
    rate, widths = 0.05, (4, 6)
    batches = [(X, Y), (X[::-1] * 0.5, Y + 1)]
    table = coord_check(linear, widths, optax.sgd(rate), batches, steps=3, seeds=(2, 5))
    assert table.names == ("z", "h", "a")
    assert table.size.shape == table.update.shape == (2, 2, 4, 3)
    for i, n in enumerate(widths):
        for j, seed in enumerate((2, 5)):
            w = {k: np.asarray(v, np.float64) for k, v in init_of(n)(jax.random.key(seed)).items()}

            def activations(w=w):
                z = np.asarray(X, np.float64) @ w["a"]
                return [z, z @ w["b"], z @ w["b"] @ w["c"]]

            start = before = activations()
            for t in range(4):
                now = activations()
                rms = lambda v: np.sqrt(np.mean(v**2))  # noqa: E731
                for k in range(3):
                    expected = (rms(now[k]), np.abs(now[k]).mean(), rms(now[k] - start[k]),
                                rms(now[k] - before[k]))  # fmt: skip
                    found = [m[i, j, t, k] for m in table[2:6]]
                    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
                if t == 3:
                    break
                before = now
                x, y = (np.asarray(v, np.float64) for v in batches[t % 2])
                z, h = x @ w["a"], x @ w["a"] @ w["b"]
                error = h @ w["c"] - y
                np.testing.assert_allclose(table.loss[i, j, t], np.mean(error**2), rtol=1e-4)
                d = 2 * error / error.size
                w["c"], back = w["c"] - rate * h.T @ d, d @ w["c"].T
                w["b"], w["a"] = w["b"] - rate * z.T @ back, w["a"] - rate * x.T @ back @ w["b"].T


def relu_net(scheme, optimizer):
    """A ReLU network by scheme, and the chain that goes with it."""
    base = [jax.eval_shape(init_of(n), jax.random.key(0)) for n in (32, 64)]

    def scales(n):
        target = jax.eval_shape(init_of(n), jax.random.key(0))
        return mup.leaf_scales(mup.infer_specs(*base, target), scheme=scheme, optimizer=optimizer)

    def make(n):
        s = scales(n)

        def apply(w, x):
            w = mup.apply_multipliers(w, s)
            first = jax.nn.relu(x @ w["a"])
            second = jax.nn.relu(first @ w["b"])
            return {"first": first, "second": second, "out": second @ w["c"]}

        zero = scheme == "mup"
        return lambda key: mup.rescale_init(init_of(n)(key), s, zero_readout=zero), apply

    chain = {"sgd": optax.sgd(0.1), "adam": optax.adam(3e-3)}[optimizer]
    return make, lambda n: optax.chain(chain, mup.scale_by_parametrization(scales(n)))


WIDTHS = (32, 64, 256, 512)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_changes_are_flat_in_mup_and_not_in_the_standard_parametrization(optimizer):
    batch = X, Y
    make, chain = relu_net("mup", optimizer)
    flat = coord_check(make, WIDTHS, chain, batch, steps=3, seeds=8)
    for step in (2, 3):
        found = slopes(flat, step=step)
        assert np.abs(found.slope[:2]).max() <= 0.1
        assert abs(found.slope[2]) <= 0.15
    make, chain = relu_net("sp", optimizer)
    steep = coord_check(make, WIDTHS, chain, batch, steps=3, seeds=8)
    assert slopes(steep, step=1).slope[2] >= 0.4
    if optimizer == "adam":
        # the sizes at the start are flat, and the steps grow: 0.4 is the reference's bound
        assert np.abs(slopes(steep, what="mean_abs", step=0).slope[:2]).max() <= 0.1
        assert slopes(steep, what="update", step=3).slope[1:].min() >= 0.4
    if optimizer == "sgd":
        # what the sizes do not show: features stand still, more the wider the network is
        sizes = slopes(steep, what="mean_abs", step=1).slope[:2]
        assert np.abs(sizes).max() <= 0.1
        assert slopes(steep, step=1).slope[0] <= -0.4


def test_one_program_is_compiled_for_each_width():
    traces = []

    def make(n):
        init, apply = linear(n)

        def counted(w, x):
            traces.append(n)
            return apply(w, x)

        return init, counted

    coord_check(make, (4, 6), optax.sgd(0.1), (X, Y), steps=2, seeds=1)
    once = list(traces)
    traces.clear()
    coord_check(make, (4, 6), optax.sgd(0.1), (X, Y), steps=2, seeds=3)
    assert traces == once
    counts = []
    for rates, seeds in (([0.1], 1), ([0.01, 0.1, 0.2], 2)):
        traces.clear()
        lr_sweep(make, (4, 6), lambda n, r: optax.sgd(r), (X, Y), rates, steps=2, seeds=seeds)
        counts.append(list(traces))
    assert counts[0] == counts[1]


def test_what_is_zero_or_not_finite_has_no_slope():
    table = coord_check(linear, (4, 6, 8), optax.sgd(1e30), (X, Y), steps=2, seeds=1)
    assert np.isnan(slopes(table, step=2).slope).all()
    assert np.isnan(slopes(table, what="change", step=0).slope).all()
    assert np.isfinite(slopes(table, what="size", step=0).slope).all()
    assert np.isnan(slopes(table, what="size", step=0).stderr).all()  # two widths, no error


def test_means_of_large_and_small_activations_neither_overflow_nor_vanish():
    """Three activations that differ by a factor, in float32, whose range their squares leave."""
    factors = {"large": 1e25, "small": 1e-25, "plain": 1.0}

    def make(n):
        def apply(w, x):
            return {name: x @ w["a"] * factor for name, factor in factors.items()}

        return lambda key: {"a": init_of(n)(key)["a"]}, apply

    table = coord_check(make, (2,), optax.sgd(0.1), (X, Y), steps=1, seeds=1)
    for measure in (table.size, table.mean_abs, table.change, table.update):
        for k, factor in enumerate(factors.values()):
            np.testing.assert_allclose(measure[..., k], measure[..., 2] * factor, rtol=1e-5)
    assert (table.change[0, 0, 1] > 0).all()


def test_an_ordered_dict_keeps_its_order_in_jit():
    def make(n):
        init, apply = linear(n)
        return init, jax.jit(lambda w, x: OrderedDict(apply(w, x)))

    table = coord_check(make, (4,), optax.sgd(0.1), (X, Y), steps=1, seeds=1)
    assert table.names == ("z", "h", "a")
    plain = coord_check(linear, (4,), optax.sgd(0.1), (X, Y), steps=1, seeds=1)
    np.testing.assert_allclose(table.loss, plain.loss, rtol=1e-6)


# Spectral check ---------------------------------------------------------------------------------


def test_norms_are_those_of_numpy_in_every_layout():
    rng = np.random.default_rng(0)
    w = {
        "dense": rng.normal(size=(6, 10)),
        "query": rng.normal(size=(6, 2, 4)),
        "conv": rng.normal(size=(3, 3, 4, 5)),
        "stack": rng.normal(size=(3, 4, 5)),
        "bias": rng.normal(size=7),
        "readout": rng.normal(size=7),
    }
    roles = {
        "dense": AxisRoles((0,), (1,)),
        "query": AxisRoles((0,), (1, 2)),
        "conv": AxisRoles((2,), (3,)),
        "stack": AxisRoles((1,), (2,), (0,)),
        "bias": AxisRoles((), (0,)),
        "readout": AxisRoles((0,), ()),
    }
    specs = {k: LeafSpec("hidden", roles=roles[k], shape=v.shape) for k, v in w.items()}
    found = spectral_check(jax.tree.map(jnp.asarray, w), {k: 2 * v for k, v in w.items()}, specs)
    norm = np.linalg.norm
    expected = {
        "dense": norm(w["dense"], 2) / (10 / 6) ** 0.5,
        "query": norm(w["query"].reshape(6, 8), 2) / (8 / 6) ** 0.5,
        "conv": norm(w["conv"].reshape(36, 5), 2) / (5 / 36) ** 0.5,
        "stack": max(norm(m, 2) for m in w["stack"]) / (5 / 4) ** 0.5,
        "bias": norm(w["bias"]) / 7**0.5,
        "readout": norm(w["readout"]) / (1 / 7) ** 0.5,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].weight, value, rtol=1e-5)
        np.testing.assert_allclose(found[name].update, 2 * value, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_spectral_condition_holds_in_mup(optimizer):
    """Norms of initial weights and of first updates, relative to what they should be."""
    weights, moved = [], []
    for n in (64, 128, 512):
        shapes = [jax.eval_shape(init_of(m), jax.random.key(0)) for m in (64, 128, n)]
        specs = mup.infer_specs(*shapes)
        scales = mup.leaf_scales(specs, optimizer=optimizer, form="spectral")
        w = mup.rescale_init(init_of(n)(jax.random.key(1)), scales)

        def loss(w):
            h = jax.nn.relu(jax.nn.relu(X @ w["a"]) @ w["b"]) @ w["c"]
            return jnp.mean((h - Y) ** 2)

        base = {"sgd": optax.sgd(1.0), "adam": optax.adam(1.0)}[optimizer]
        chain = optax.chain(base, mup.scale_by_parametrization(scales))
        updates, _ = chain.update(jax.grad(loss)(w), chain.init(w), w)
        found = spectral_check(w, updates, specs).values()
        weights.append([float(s.weight) for s in found])
        moved.append([float(s.update) for s in found])
    for ratios in (weights, moved):
        fit = np.polyfit(np.log([64, 128, 512]), np.log(ratios), 1)[0]
        assert np.abs(fit).max() <= 0.2


def test_leaves_that_do_not_match_are_named():
    spec = {"w": LeafSpec("hidden", shape=(2, 3))}
    w = {"w": jnp.ones((2, 3))}
    with pytest.raises(ValueError, match=r"no spec for the leaf 'v' of shape \(2,\)"):
        spectral_check({"v": jnp.ones(2)}, w, spec)
    with pytest.raises(ValueError, match=r"no update for the leaf 'w'"):
        spectral_check(w, {}, spec)
    with pytest.raises(ValueError, match=r"'w' has shape \(2, 3\), its update \(3, 2\)"):
        spectral_check(w, {"w": jnp.ones((3, 2))}, spec)


# Sweeps -----------------------------------------------------------------------------------------


def test_the_best_rate_of_a_quadratic_is_found_between_the_rates_of_the_grid():
    """exp of a parabola in log2 of the rate, as a "network" whose loss it is."""
    vertex = -2.3

    def make(n):
        return lambda key: jnp.zeros(()), lambda w, x: w * jnp.ones(len(x))

    def optimizer(n, rate):
        # one step sets w to the value whose loss is wanted
        target = jnp.exp((jnp.log2(rate) - vertex) ** 2 - 3)
        return optax.stateless(lambda updates, params: target)

    rates = 2.0 ** np.arange(-5, 1)
    sweep = lr_sweep(make, (1, 2), optimizer, (jnp.zeros(3), jnp.zeros(3)), rates, steps=2, seeds=1,
                     loss=lambda out, y: out[0], trivial=1.0)  # fmt: skip
    np.testing.assert_allclose(np.log2(sweep.best_rate), vertex, atol=1e-5)
    assert sweep.best.tolist() == [3, 3]
    assert drift(sweep) == pytest.approx(0, abs=1e-5)
    np.testing.assert_array_equal(sweep.diverged[0, :, 0], (np.arange(-5, 1) - vertex) ** 2 >= 3)


def test_a_dead_network_has_diverged():
    def make(n):
        init, _ = linear(n)
        return init, lambda w, x: jax.nn.relu(jax.nn.relu(x @ w["a"]) @ w["b"]) @ w["c"]

    def optimizer(n, rate):
        return optax.sgd(rate)

    for batch_size in (None, 2):
        sweep = lr_sweep(make, (16,), optimizer, (X, Y), [0.3, 1.0, 10.0], steps=12, window=3,
                         seeds=2, batch_size=batch_size)  # fmt: skip
        assert sweep.trivial == pytest.approx(float(jnp.mean((Y - Y.mean(0)) ** 2)))
        dead = np.isfinite(sweep.loss[0, 2]) & (sweep.loss[0, 2] < 1)
        assert dead.any()  # finite, and the loss of an output of zero
        assert sweep.diverged[0, 2].all()
        assert not sweep.diverged[0, 0].any()
        if batch_size is None:
            np.testing.assert_allclose(sweep.loss[0, 2][dead], jnp.mean(Y**2), rtol=1e-6)


def test_where_all_diverge_there_is_no_best_rate():
    sweep = lr_sweep(linear, (4,), lambda n, r: optax.sgd(r), (X, Y), [1e9, 1e10], steps=9, seeds=1)
    assert (sweep.best[0], sweep.at_edge[0]) == (-1, False)
    assert np.isnan(sweep.best_rate[0])
    assert np.isnan(drift(sweep))


def test_a_traced_rate_changes_no_dtype(x64):
    """Momentum of steps that the rate has scaled stays float32, as do the losses."""
    with jax.enable_x64(False):
        weights = jax.tree.map(np.asarray, init_of(4)(jax.random.key(0)))
    data = np.asarray(X), np.asarray(Y)

    def sweep():
        def make(n):
            return lambda key: jax.tree.map(jnp.asarray, weights), linear(n)[1]

        def optimizer(n, rate):
            return optax.chain(optax.scale(-rate), optax.trace(0.5))

        return lr_sweep(make, (4,), optimizer, data, [0.01, 0.05], steps=4, seeds=1).loss

    found = sweep()
    with jax.enable_x64(False):
        np.testing.assert_allclose(found, sweep(), rtol=1e-6)


def test_minibatches_are_those_of_the_seed_at_every_width_and_rate():
    """The loss of a constant model is that of the batches alone."""

    def make(n):
        return lambda key: jnp.zeros(()), lambda w, x: x[:, 0] + w

    options = {"steps": 6, "window": 6, "batch_size": 3}
    data = jnp.arange(50.0)[:, None], jnp.zeros(50)
    sweep = lr_sweep(make, (1, 2), lambda n, r: optax.set_to_zero(), data, [0.1, 1.0], seeds=3,
                     trivial=1e9, **options)  # fmt: skip
    assert np.ptp(sweep.loss, axis=(0, 1)).max() == 0
    assert np.ptp(sweep.loss) > 0


# Pictures ---------------------------------------------------------------------------------------


def test_pictures_show_every_line_and_leave_no_trace():
    table = coord_check(linear, (4, 6, 8), optax.sgd(0.1), (X, Y), steps=2, seeds=2)
    figure = plots.coord_check(table)
    assert [len(axes.lines) for axes in figure.axes] == [3, 3]
    sweep = lr_sweep(linear, (4, 6), lambda n, r: optax.sgd(r), (X, Y), [0.01, 0.1, 1.0], steps=3,
                     seeds=1)  # fmt: skip
    (axes,) = plots.lr_sweep(sweep).axes
    assert len(axes.lines) == 5
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["4", "6"]
    with pytest.raises(ValueError, match="what must be one of"):
        plots.coord_check(table, what="growth")


def test_pictures_of_nothing_can_be_drawn():
    ones = np.ones((3, 1, 2, 2))
    for values, labels in ((np.nan, "none"), (0.0, "none"), (np.inf, "none"), (1.0, "+0.00")):
        filled = ones * values
        table = Table(np.array([4, 6, 8]), ("h", "out"), *[filled] * 4, ones[:, :, 1:, 0])
        figure = plots.coord_check(table)
        figure.savefig(io.BytesIO())
        shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert shown == [f"h: {labels}", f"out: {labels}"]
        assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["4", "6", "8"]
    plots.coord_check(Table(np.array([4]), ("h", "out"), *[ones[:1]] * 5)).savefig(io.BytesIO())
    empty = np.full((1, 2, 1), np.nan)
    sweep = Sweep(np.array([4]), np.array([0.1, 1.0]), empty, empty != 0, np.inf, np.array([-1]),
                  np.array([np.nan]), np.array([False]))  # fmt: skip
    for trivial in (np.inf, 1.0):
        plots.lr_sweep(sweep._replace(trivial=trivial)).savefig(io.BytesIO())


def test_without_matplotlib_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib.figure'] = None\n"
        "from theorylab.parametrization import plots\n"
        "try:\n    plots._figure(1)\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "theorylab[experiments]" in done.stdout


# Bad input --------------------------------------------------------------------------------------


def check(match, error=ValueError, **changed):
    options = {"make": linear, "widths": (4, 6), "optimizer": optax.sgd(0.1), "batch": (X, Y),
               "steps": 1, "seeds": 1} | changed  # fmt: skip
    with pytest.raises(error, match=match):
        coord_check(options.pop("make"), options.pop("widths"), options.pop("optimizer"),
                    options.pop("batch"), **options)  # fmt: skip


def test_arguments_of_the_coordinate_check_are_named():
    check("widths must be positive integers, got \\(0, 4\\)", widths=(0, 4))
    check("each larger than the last, got \\(6, 4\\)", widths=(6, 4))
    check("widths must be at least one", widths=())
    check("steps must be a positive integer, got 0", steps=0)
    check("seeds must be a positive integer or a sequence", seeds=())
    check("seeds must be a positive integer or a sequence", seeds=0)
    check(r"seeds must be .* got \[0\.5\]", seeds=[0.5])
    check(r"seeds must be .* got 1\.5", seeds=1.5)
    check("widths must be a sequence of positive integers, got 64", TypeError, widths=64)
    check("optimizer must be a function .* got NoneType", TypeError, optimizer=None)
    check("'output' is str", TypeError, make=lambda n: (linear(n)[0], lambda w, x: "no"))
    check("real floating-point arrays, 'output' is of int32", TypeError,
          make=lambda n: (linear(n)[0], lambda w, x: jnp.argmax(x, -1)))  # fmt: skip
    check(r"not empty, 'output' is \(8, 0\)",
          make=lambda n: (linear(n)[0], lambda w, x: x[:, :0]))  # fmt: skip
    check("batch must be a pair .*empty list", batch=[])
    check("batch must be a pair", TypeError, batch=[X, Y, Y])
    check(r"make must return a pair \(init, apply\), but make\(4\)", TypeError, make=lambda n: 3)
    check("must return two functions, got 3", TypeError, make=lambda n: (3, 4))
    check("apply must return arrays with a batch axis, 'output'", TypeError,
          make=lambda n: (linear(n)[0], lambda w, x: jnp.sum(x)))  # fmt: skip
    check("at least one activation", make=lambda n: (linear(n)[0], lambda w, x: {}))
    check("optimizer must be an optax transformation", TypeError, optimizer=lambda n: 3)
    check("loss must be a function", TypeError, loss="mse")
    check(r"loss must return a scalar, got shape \(8, 2\)", loss=lambda a, b: a - b)


def test_arguments_of_slopes_are_named():
    ones = np.ones((3, 1, 2, 1))
    table = Table(np.array([4, 6, 8]), ("h",), ones, ones, ones, ones, ones[:, :, 1:, 0])
    with pytest.raises(ValueError, match="what must be one of .*'growth'"):
        slopes(table, what="growth")
    with pytest.raises(ValueError, match="step must be at most 1, the number of steps, got 2"):
        slopes(table, step=2)
    with pytest.raises(ValueError, match="first must leave two widths or more.*first=2 of 3"):
        slopes(table, first=2)
    with pytest.raises(TypeError, match="step must be an integer, got True"):
        slopes(table, step=True)
    with pytest.raises(TypeError, match=r"first must be an integer, got 1\.5"):
        slopes(table, first=1.5)


def test_arguments_of_sweeps_are_named():
    def sweep(match, error=ValueError, data=(X, Y), rates=(0.1, 0.2), **changed):
        options = {"steps": 2, "seeds": 1} | changed
        with pytest.raises(error, match=match):
            lr_sweep(linear, (4,), lambda n, r: optax.sgd(r), data, rates, **options)

    sweep("rates must be positive and finite", rates=(0.0, 1.0))
    sweep("rates must be positive and finite", rates=())
    sweep("rates must grow", rates=(0.2, 0.1))
    sweep("rates must be numbers, got 'fast'", TypeError, rates="fast")
    sweep("trivial must be a number or None, got nan", TypeError, trivial=float("nan"))
    sweep(r"y must have shape \(8, 2\)", data=(X, Y[:, :1]))
    sweep("window must be at most the number of steps, 2, got 3", window=3)
    sweep("window must be a positive integer", window=0)
    sweep("batch_size must be a positive integer", batch_size=0)
    sweep("data must be a pair", TypeError, data=X)
    sweep(r"as many examples, got \(8, 5\) and \(3, 2\)", data=(X, Y[:3]))
    with pytest.raises(TypeError, match="optimizer must be an optax transformation"):
        lr_sweep(linear, (4,), lambda n, r: r, (X, Y), [0.1], steps=1, seeds=1)
    with pytest.raises(TypeError, match="optimizer must be a function .* got Gradient"):
        lr_sweep(linear, (4,), optax.sgd(0.1), (X, Y), [0.1], steps=1, seeds=1)
    assert isinstance(drift(Sweep(*[np.ones(1)] * 8)), float)


def test_targets_that_would_be_broadcast_and_sorted_names_are_refused():
    check(r"y must have shape \(8, 2\).*got \(8,\)", batch=(X, Y[:, 0]))
    check(r"y must have shape \(8,\), as labels", batch=(X, jnp.zeros((8, 2), int)))
    check("y must be integer labels or floating-point", TypeError, batch=(X, Y + 1j))
    init, apply = linear(4)
    check("must not be compiled by jax.jit", make=lambda n: (linear(n)[0], jax.jit(apply)))
    check(r"batch\[1\] must have the shapes of batch\[0\]", batch=[(X, Y), (X[:4], Y[:4])])
    check("init must return real floating-point arrays", TypeError,
          make=lambda n: (lambda key: {"w": jnp.zeros(3, int)}, apply))  # fmt: skip

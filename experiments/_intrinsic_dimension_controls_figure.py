"""The figure of `intrinsic_dimension_controls`, its caption and its words, from stored arrays."""

import numpy as np

from experiments import _style
from experiments import intrinsic_dimension_controls as module

DASHED = (0, (3, 1.2))


def figure(arrays):
    """Draw accuracies against d, one panel for each control."""
    fig, axes = _style.subplots(1, 3, width="wide", aspect=0.43)
    counts = [int(count) for count in arrays["counts"]]
    colours = (_style.BLUE, _style.ORANGE, _style.GREEN, _style.PINK, _style.SKY)
    nets = [module.DENSE, *(["LeNet"] if arrays["lenet"] else [])]
    panels: tuple[list, ...] = (
        [
            (f"{net}, {order}", colours[k], line)
            for k, net in enumerate(nets)
            for order, line in zip(module.ORDERS, ("-", DASHED), strict=True)
        ],
        [
            (f"{kind} labels, {count}", colours[k], line)
            for k, count in enumerate(counts)
            for kind, line in (("true", "-"), ("random", DASHED))
        ],
        [("adam", colours[0], "-"), ("sgd", colours[1], DASHED)],
    )
    for panel, curves in zip(axes, panels, strict=True):
        for k, (key, colour, line) in enumerate(curves):
            _curve(panel, arrays, key, colour, line, _style.MARKERS[k % 6])
        panel.set(xscale="log", xlabel="dimension d of the subspace", ylim=(None, 1.02))
        ds = np.concatenate([arrays[f"{key}: ds"] for key, _, _ in curves])
        last = 1000 if ds.max() >= 1000 else 800
        ticks = [t for t in (25, 50, 100, 200, 400, last) if ds.min() <= t <= ds.max()]
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        panel.legend(loc="lower right", fontsize=6.0)
    axes[0].set(title="(a) pixels, MNIST-5k", ylabel="accuracy on test images")
    axes[1].set(title="(b) labels, digits", ylabel="accuracy on learned images")
    axes[2].set(title="(c) optimizer, digits", ylabel="accuracy on test images")
    return fig


def _curve(panel, arrays, key, colour, line, marker):
    """Draw mean and range over seeds, and a star where the own threshold is crossed."""
    ds, runs = arrays[f"{key}: ds"], arrays[f"{key}: curves"]
    label = {"adam": "Adam", "sgd": "SGD, momentum"}.get(key, key.replace(" labels", ""))
    panel.fill_between(ds, runs.min(0), runs.max(0), color=colour, alpha=0.12, linewidth=0)
    panel.plot(ds, runs.mean(0), color=colour, linestyle=line, marker=marker, markersize=2.6,
               linewidth=1.0, label=label)  # fmt: skip
    value = arrays[f"{key}: dint"][0, 0]
    if np.isfinite(value):
        threshold = module.FRACTION * arrays[f"{key}: direct"].mean()
        panel.plot(value, threshold, "*", color=_style.BLACK, markersize=6, zorder=5)


def _words(arrays, key):
    """Return both intrinsic dimensions of a curve in words."""
    own, absolute = arrays[f"{key}: dint"][:, 0]
    return " / ".join(f"{v:.0f}" if np.isfinite(v) else "beyond the grid" for v in (own, absolute))


def _keys(arrays):
    return [key.removesuffix(": dint") for key in arrays if key.endswith(": dint")]


def caption(arrays):
    """Return what is drawn, with numbers."""
    found = "; ".join(f"{key}: {_words(arrays, key)}" for key in _keys(arrays))
    rates = " and ".join(
        f"{float(arrays[f'{name}: direct rate']):g}, {float(arrays[f'{name}: subspace rate']):g}"
        for name in module.OPTIMIZERS
    )
    return (
        f"Means and ranges of {int(arrays['seeds'])} seeds; stars: 0.9 of each curve's own "
        "baseline. (a) One permutation of the pixels of all images. (b) Images learned with their "
        "own labels or with random ones; the number behind a name is how many. (c) Both optimizers "
        f"with their own best rates, directly and in subspaces ({rates}). Intrinsic dimensions "
        f"(0.9 of the own baseline / an accuracy of 0.90): {found}."
    )


def alt(arrays):
    """Return the figure in words."""
    found = "; ".join(f"{key} {_words(arrays, key)}" for key in _keys(arrays))
    return (
        "Three panels of accuracy against d. Left: curves of a dense network with ordered and "
        "shuffled pixels coincide, those of LeNet do not. Middle: random labels need larger d "
        "than true ones, and more images larger d. Right: Adam and SGD. Intrinsic dimensions, "
        f"own baseline / absolute: {found}."
    )

"""The figure of `annealing_law`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

MINUS = "\N{MINUS SIGN}"
SCHEDULES = {
    "constant": ("constant", _style.GREY),
    "cosine": ("cosine", _style.BLUE),
    "wsd": ("stable, then decay", _style.ORANGE),
}
DASHED = (0, (3, 1.5))


def predictions(arrays, row):
    """Return the law's losses of the stable-then-decay schedule for one memory, (seeds, n)."""
    return arrays["predicted"][:, row]


def paper_row(arrays):
    """Return the row of the paper's memory, decay 0.999."""
    return int(np.abs(arrays["decays"] - 0.999).argmin())


def fitted_row(arrays):
    """Return the row whose law fits constant and cosine best, on average over seeds."""
    return int(arrays["residual"].mean(axis=0).argmin())


def mean_error(arrays, row):
    """Return the mean relative error of the prediction of each seed, (seeds,)."""
    used = arrays["steps"] >= arrays["first"]
    measured = arrays["wsd_losses"]
    return np.abs(predictions(arrays, row) / measured - 1)[:, used].mean(axis=1)


def end_error(arrays, row):
    """Return the relative error at the last step, signed, (seeds,)."""
    return predictions(arrays, row)[:, -1] / arrays["wsd_losses"][:, -1] - 1


def figure(arrays):
    """Draw the schedules, the losses with the predicted ones, and errors over the memory."""
    fig, (rates, losses, errors) = _style.subplots(1, 3, width="wide", aspect=0.40)
    count = np.arange(1, arrays["wsd_rates"].shape[0] + 1)
    for name, (words, colour) in SCHEDULES.items():
        rates.plot(count, arrays[f"{name}_rates"], color=colour, label=words)
    rates.set_ylim(0, 1.4 * arrays["constant_rates"].max())
    rates.set_title("(a) schedules")
    rates.set_xlabel("step")
    rates.set_ylabel("learning rate")
    rates.legend(loc="upper left")
    _losses(losses, arrays)
    _memory(errors, arrays)
    return fig


def _losses(axes, arrays):
    """Draw the first seed: measured losses as symbols, fits thin, predictions dashed."""
    steps, row = arrays["steps"], fitted_row(arrays)
    used = steps >= arrays["first"]
    for name, (_, colour) in SCHEDULES.items():
        axes.plot(steps[used], arrays[f"{name}_losses"][0, used], ".", color=colour, markersize=3.5)
    for at, style in ((paper_row(arrays), DASHED), (row, "-")):
        axes.plot(
            steps[used], predictions(arrays, at)[0, used], linestyle=style, linewidth=1.0,
            color=_style.BLACK, label=f"law, memory {memory(arrays, at):,.0f}",
        )  # fmt: skip
    axes.set_title("(b) held-out losses")
    axes.set_xlabel("step")
    axes.set_ylabel("nats a character")
    axes.legend(loc="upper right")


def memory(arrays, row):
    """Return the memory of the annealing area, in steps."""
    return 1 / (1 - arrays["decays"][row])


def _memory(axes, arrays):
    """Draw, over the memory, how well the law fits and how far its prediction is off."""
    from matplotlib.ticker import FuncFormatter

    rows = range(len(arrays["decays"]))
    spans = np.array([memory(arrays, row) for row in rows])
    axes.axhline(0, color="#555555", linewidth=0.6)
    for values, words, colour, marker in (
        (arrays["residual"].T, "fitted runs, rms", _style.BLUE, "o"),
        (np.stack([mean_error(arrays, r) for r in rows]), "third run, mean", _style.ORANGE, "s"),
        (np.stack([end_error(arrays, r) for r in rows]), "third run, end", _style.GREEN, "^"),
    ):
        axes.plot(np.repeat(spans, values.shape[1]), 100 * values.ravel(), ".", color=colour,
                  alpha=0.4, markersize=2.6)  # fmt: skip
        axes.plot(spans, 100 * values.mean(axis=1), marker=marker, color=colour, label=words)
    cosine = arrays["cosine_losses"][:, -1] / arrays["wsd_losses"][:, -1] - 1
    axes.axhline(100 * cosine.mean(), color=_style.GREY, linestyle=DASHED, linewidth=1.0)
    axes.annotate(
        "cosine run's end", (spans[0], 100 * cosine.mean()), xytext=(0, 2), va="bottom",
        textcoords="offset points", color=_style.GREY, fontsize=7,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.margins(y=0.12)
    axes.set_title("(c) errors over the memory")
    axes.set_xlabel(r"memory $1/(1-\lambda)$ (steps)")
    axes.set_ylabel("relative error (%)")
    axes.legend(loc="lower right")


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    seeds, count = len(arrays["wsd_losses"]), int(arrays["steps"][-1])
    return (
        f"A character transformer trained by AdamW in {count} steps ({arrays['data']}), {seeds} "
        "seeds. (a) The three schedules. (b) Held-out losses of the first seed as dots; lines: "
        "what the law, fitted to the constant and the cosine run, predicts for the third, with the "
        "paper's memory (1,000 steps) and with the one that fits those two best. Steps before "
        f"{int(arrays['first'])} are left out of fits and errors. (c) Over the memory: root mean "
        "square of the log residuals of the fit, and mean and last (signed) relative error of the "
        "prediction; dots are single seeds. Dashed: the error of taking the cosine run's last loss "
        "for the third run's."
    )


def alt(arrays):
    """Return the figure in words."""
    paper, fitted = paper_row(arrays), fitted_row(arrays)

    def errors(row):
        signed = f"{100 * end_error(arrays, row).mean():+.1f}".replace("-", MINUS)
        return f"{100 * mean_error(arrays, row).mean():.1f} % on average and {signed} % at the end"

    ends = ", ".join(
        f"{arrays[f'{name}_losses'][:, -1].mean():.3f} ({words})"
        for name, (words, _) in SCHEDULES.items()
    )
    return (
        "Three panels. Left: a constant rate, one that falls along a cosine, and one that is "
        "constant and then falls on a line to zero. Middle: held-out losses fall with the steps "
        f"and end, on average over seeds, at {ends}; beside the third two predicted curves. "
        "Right: errors in per cent over the memory of the annealing area. With the paper's memory, "
        f"1,000 steps, the prediction is off by {errors(paper)}; with "
        f"{memory(arrays, fitted):.0f} steps, which fits the other two runs best, by "
        f"{errors(fitted)}."
    )

"""The figure of `schedule_refinement`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

MINUS = "\N{MINUS SIGN}"
LINEAR, REFINED, COSINE = _style.BLUE, _style.ORANGE, _style.GREEN
ROWS = ("digits, SGD", "characters, Adam")


def best(losses):
    """Return the row of the rate that is best on average over seeds, of (rates, seeds)."""
    return int(losses.mean(axis=1).argmin())


def figure(arrays):
    """Draw norms, schedules and losses over rates, one row for each problem."""
    fig, axes = _style.subplots(2, 3, width="wide", aspect=0.62)
    chosen = best(arrays["linear_excess"]), best(arrays["char_linear"])
    for row, (prefix, order, name) in enumerate((("", 2, ROWS[0]), ("char_", 1, ROWS[1]))):
        at, letters = chosen[row], "abcdef"[3 * row :]
        norms, refined = (arrays[f"{prefix}{part}"][at] for part in ("norms", "refined"))
        time = np.arange(norms.shape[1]) / norms.shape[1]
        _norms(axes[row, 0], time, norms[0])
        axes[row, 0].set_title(f"({letters[0]}) {name}: norms")
        axes[row, 0].set_ylabel(rf"$\ell_{order}$ norm of the gradient")
        _schedules(axes[row, 1], time, refined)
        axes[row, 1].set_title(f"({letters[1]}) schedules")
    _over_rates(axes[0, 2], arrays["peaks"], (
        (arrays["linear_excess"], "linear decay", LINEAR, "o"),
        (arrays["cosine_excess"], "cosine", COSINE, "^"),
        (arrays["refined_excess"], "refined", REFINED, "s"),
    ))  # fmt: skip
    axes[0, 2].set_yscale("log")
    axes[0, 2].set_title("(c) excess of the last loss")
    axes[0, 2].set_ylabel("nats above the least")
    _over_rates(axes[1, 2], arrays["char_peaks"], (
        (arrays["char_linear"], "linear decay", LINEAR, "o"),
        (arrays["char_second"], "refined", REFINED, "s"),
    ))  # fmt: skip
    axes[1, 2].set_title("(f) held-out loss")
    axes[1, 2].set_ylabel("nats a character")
    return fig


def smooth(norms):
    """Return running medians over a tenth of the run, as the refinement takes them."""
    half = int(0.1 * len(norms) / 2)
    padded = np.pad(norms, half, mode="symmetric")
    spans = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    return np.median(spans, axis=1)


def _norms(axes, time, norms):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.plot(time, norms, color=_style.GREY, linewidth=0.4, alpha=0.6, label="each step")
    axes.plot(time, smooth(norms), color=_style.BLACK, label="running median")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.margins(x=0.02)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("share of the run")
    axes.legend(loc="upper right")


def _schedules(axes, time, refined):
    axes.plot(time, 1 - time, color=LINEAR, label="linear decay")
    for i, rates in enumerate(refined):
        label = {"label": "refined"} if i == 0 else {}
        axes.plot(time, rates, color=REFINED, linewidth=0.8, alpha=0.7, **label)
    axes.margins(x=0.02)
    axes.set_ylim(0, 1.32)
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlabel("share of the run")
    axes.set_ylabel("rate over its largest")
    axes.legend(loc="upper right", ncols=2, columnspacing=1.0, handlelength=1.2)


def _over_rates(axes, peaks, curves):
    """Draw means over seeds, and single seeds as dots, over the largest rate."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    for losses, label, colour, marker in curves:
        at = np.repeat(peaks, losses.shape[1])
        axes.plot(at, losses.ravel(), ".", color=colour, alpha=0.35, markersize=2.6)
        axes.plot(peaks, losses.mean(axis=1), marker=marker, color=colour, label=label)
        axes.plot(
            peaks[best(losses)], losses.mean(axis=1)[best(losses)], "o", markersize=8,
            markerfacecolor="none", markeredgecolor=colour, markeredgewidth=0.9,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(peaks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("largest rate")
    axes.legend(loc="best")


def _best_words(losses, peaks, form):
    row = best(losses)
    return f"{losses[row].mean():{form}} at {peaks[row]:g}"


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    seeds, steps = arrays["norms"].shape[1:]
    char_seeds, char_steps = arrays["char_norms"].shape[1:]
    one, other = (str(name) for name in arrays["sources"])
    return (
        f"Top: logistic regression with ridge {float(arrays['ridge']):g} ({one}), {steps} steps of "
        f"SGD, {seeds} seeds. Bottom: a character transformer ({other}), {char_steps} steps of "
        f"Adam, {char_seeds} seeds. (a), (d) Gradient norms of the first run with linear decay at "
        "its best largest rate, and their running medians. (b), (e) Schedules refined from the "
        "norms of each seed there. (c), (f) Losses at the end over the largest rate: symbols are "
        "means over seeds, dots single seeds, circles the best of each schedule. Refined schedules "
        "at each rate come from the norms of the linear run at that rate."
    )


def alt(arrays):
    """Return the figure in words."""
    norms, chars = (
        smooth(arrays[f"{prefix}norms"][best(arrays[loss]), 0])
        for prefix, loss in (("", "linear_excess"), ("char_", "char_linear"))
    )
    peaks, char_peaks = arrays["peaks"], arrays["char_peaks"]

    def peak_time(prefix, loss):
        rates = arrays[f"{prefix}refined"][best(arrays[loss])]
        return f"{rates.argmax(axis=1).mean() / rates.shape[1]:.2f}"

    return (
        "Six panels, two rows. Top, logistic regression: running medians of gradient norms go from "
        f"{norms[0]:.2g} at the start to {norms[len(norms) // 2]:.2g} half-way and {norms[-1]:.2g} "
        "at the end; refined rates are largest, on average, at a share "
        f"{peak_time('', 'linear_excess')} of the run; "
        f"the least excess is {_best_words(arrays['linear_excess'], peaks, '.2g')} with linear "
        f"decay, {_best_words(arrays['cosine_excess'], peaks, '.2g')} with cosine decay and "
        f"{_best_words(arrays['refined_excess'], peaks, '.2g')} refined. Bottom, characters: "
        f"medians go from {chars[0]:.3g} to {chars[len(chars) // 2]:.3g} and {chars[-1]:.3g}; "
        f"refined rates are largest at {peak_time('char_', 'char_linear')}; the least held-out "
        f"loss is {_best_words(arrays['char_linear'], char_peaks, '.3f')} with linear decay and "
        f"{_best_words(arrays['char_second'], char_peaks, '.3f')} refined."
    )

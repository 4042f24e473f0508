"""One look for all figures: sizes of a paper's column, 8-9 pt type, colours for every eye.

The runner draws inside this style, so a module's `figure` asks for axes and plots. matplotlib is
imported inside the functions: no computation waits for it.

Origin of the constants: widths are the ICML column (3.25 in) and the NeurIPS text (5.5 in);
the colours are Okabe and Ito (2008), "Color universal design", with yellow left out (it
vanishes on white) and the order changed so that neighbours also differ in lightness.
"""

from collections.abc import Mapping
from typing import Any

WIDTHS: Mapping[str, float] = {"column": 3.25, "text": 5.5, "wide": 6.9}

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"
BLACK, GREY = "#222222", "#8A8A8A"
CYCLE = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER)
MARKERS = ("o", "s", "^", "D", "v", "P")


def rc() -> Any:
    """Return the settings for ``matplotlib.rc_context``, with no user's file shining through."""
    import matplotlib
    from cycler import cycler

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings = {k: v for k, v in matplotlib.rcParams.items() if not k.startswith("backend")}
    return settings | {
        "font.family": "sans-serif",
        # Shipped with matplotlib: the same letters, and the same bytes, on every machine.
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8.0,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8.0,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "figure.titlesize": 9.0,
        "text.color": BLACK,
        "axes.labelcolor": BLACK,
        "axes.edgecolor": "#555555",
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "xtick.labelcolor": BLACK,
        "ytick.labelcolor": BLACK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlepad": 5.0,
        "axes.labelpad": 2.5,
        "axes.prop_cycle": cycler(color=list(CYCLE)),
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.5,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.6,
        "lines.markeredgewidth": 0.0,
        "errorbar.capsize": 1.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "legend.borderaxespad": 0.3,
        "figure.constrained_layout.w_pad": 0.04,
        "figure.constrained_layout.h_pad": 0.04,
        # Type 42 keeps letters as letters, which journals ask for.
        "pdf.fonttype": 42,
        "svg.hashsalt": "theorylab",
    }


def subplots(
    rows: int = 1,
    columns: int = 1,
    *,
    width: str | float = "text",
    aspect: float = 0.45,
    **options: Any,
) -> tuple[Any, Any]:
    """Return (figure, axes) of the width of a paper's column or text.

    Parameters
    ----------
    rows, columns
        Grid of axes, as in ``Figure.subplots``.
    width
        "column" (3.25 in), "text" (5.5 in), "wide" (6.9 in), or inches.
    aspect
        Height over width of the whole figure.
    options
        Passed to ``Figure.subplots`` (``sharey=True``, ``width_ratios=...``).

    Raises
    ------
    ValueError
        `width` is a name that is not known.
    """
    from matplotlib.figure import Figure

    if isinstance(width, str) and width not in WIDTHS:
        raise ValueError(f"width must be one of {sorted(WIDTHS)} or inches, got {width!r}")
    inches = WIDTHS[width] if isinstance(width, str) else width
    figure = Figure(figsize=(inches, aspect * inches), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)

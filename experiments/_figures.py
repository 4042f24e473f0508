"""From a module's `figure` to files: PNG for screens, PDF for papers, the same bytes every time.

matplotlib puts its version and the date into files; both are left out, and nothing that changes
from run to run is drawn. Equal arrays, code and matplotlib version give equal files.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

from experiments import _style
from experiments._workspace import replacing

# 300 dpi is print quality, and on the report's page twice the pixels of a 150 dpi image.
PNG_DPI = 300
THUMBNAIL_DPI = 150
_FOOTER_INCHES = 0.16
FILES = ("figure.png", "figure.pdf", "thumbnail.png")


def draw(module: ModuleType, arrays: dict[str, Any], footer: str, folder: Path) -> None:
    """Write `FILES` into a folder.

    Parameters
    ----------
    module
        The experiment; its ``figure(arrays)`` is called inside the style.
    arrays
        The stored arrays.
    footer
        Small line under the figure: the data truly used and the preset.
    folder
        Where the files go.

    Raises
    ------
    TypeError
        ``figure`` returned something that is no matplotlib figure.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style.rc()):
        figure = module.figure(arrays)
        if not isinstance(figure, Figure):
            kind = type(figure).__name__
            raise TypeError(f"figure() must return a matplotlib Figure, got {kind}")
        _add_footer(figure, footer)
        _save(figure, folder / "figure.png", dpi=PNG_DPI, metadata={"Software": None})
        _save(figure, folder / "thumbnail.png", dpi=THUMBNAIL_DPI, metadata={"Software": None})
        nothing = {"Creator": None, "Producer": None, "CreationDate": None}
        _save(figure, folder / "figure.pdf", metadata=nothing)


def _add_footer(figure: Any, footer: str) -> None:
    """Make the figure a little higher and write the footer into the new strip."""
    width, height = figure.get_size_inches()
    total = height + _FOOTER_INCHES
    strip = _FOOTER_INCHES / total
    figure.set_size_inches(width, total)
    engine = figure.get_layout_engine()
    if engine is not None and hasattr(engine, "set") and "rect" in engine.get():
        engine.set(rect=(0.0, strip, 1.0, 1.0 - strip))
    else:
        figure.subplots_adjust(bottom=figure.subplotpars.bottom * (1 - strip) + strip)
    figure.text(
        0.995, 0.25 * strip, footer, ha="right", va="bottom", fontsize=5.5, color=_style.GREY
    )


def _save(figure: Any, path: Path, **options: Any) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], **options)

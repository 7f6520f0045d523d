"""A chart of matplotlib as PNG: one look, and no text in it that is obeyed rather than shown."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from y12.runtime.results.fonts import font_for
from y12.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "COLOURS", "QUIET", "RULE", "chart_png", "empty", "in_unit_square", "name_of", "picture_of"]

ACCENT, QUIET, RULE = "#0f766e", "#64748b", "#c2410c"
# Of up to ten lines side by side; by Okabe and Ito, whom the colour-blind can thank, and three more.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7c6fb0", "#8c564b", "#000000", "#9aa1a9"),
)
NAME_LENGTH = 24  # characters of a class' name beside an axis
_DPI = 120
_LOOK: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#868e96",
    "axes.grid": True,
    "axes.labelcolor": "#343a40",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#e4e7eb",
    "legend.fontsize": 8.5,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "text.color": "#343a40",
    "text.parse_math": False,  # a class may be called "$"
    "xtick.color": "#5c6773",
    "ytick.color": "#5c6773",
}


def picture_of(draw: "Callable[[Figure], None]", size_inch: tuple[float, float], names: Iterable[str] = ()) -> bytes:
    """Return what `draw` draws on a figure, as PNG.

    Args:
        draw: fills the figure.
        size_inch: width and height.
        names: strangers' texts in it: fonts that have their scripts are looked for.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its list of fonts is nobody's concern
    fonts = ["DejaVu Sans", *_families(names)]
    with mpl.rc_context({**_LOOK, "font.family": fonts}), warnings.catch_warnings(), io.BytesIO() as file:
        warnings.simplefilter("ignore")  # of characters without a font, which `font_for` has told
        figure = Figure(size_inch)
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
        return file.getvalue()


def chart_png(draw: "Callable[[Axes], None]", size_inch: tuple[float, float], names: Iterable[str] = ()) -> bytes:
    """Return what `draw` draws on the only axes of a figure, as PNG; the arguments are those of `picture_of`."""
    return picture_of(lambda figure: draw(figure.add_subplot()), size_inch, names)


def name_of(name: str, length: int = NAME_LENGTH) -> str:
    """Return a class' name as it is written beside an axis."""
    return visible(name, length)


def in_unit_square(axes: "Axes", x: str, y: str, title: str) -> None:
    """Name axes that both go from 0 to 1."""
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x, ylabel=y, title=title)


def empty(axes: "Axes", words: str) -> None:
    """Say why there is nothing to see."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=QUIET, wrap=True)


def _families(names: Iterable[str]) -> Iterator[str]:
    """Yield the families of fonts that have what names are written in, made known to matplotlib."""
    from matplotlib.font_manager import FontProperties, fontManager

    texts = {visible(name, NAME_LENGTH) for name in names if not name.isascii()}
    files = {getattr(font_for(text, 12), "path", None) for text in texts}
    for file in sorted(file for file in files if isinstance(file, str)):
        with contextlib.suppress(OSError, RuntimeError):  # of a kind that matplotlib does not read
            fontManager.addfont(file)
            yield FontProperties(fname=file).get_name()

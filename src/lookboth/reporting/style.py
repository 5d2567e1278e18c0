"""The look of all plots: colours everyone can tell apart, a marker to each colour, panels in a grid."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookboth.errors import ConfigError
from lookboth.files import whole_file
from lookboth.reporting.page import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours; the first two go to the baseline and to what dev chose.
COLORS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "D", "s", "^", "v", "P", "X")
LINES = ("-", "-", "--", "-.", ":", "--", "-.")
GREY = "#8a8a8a"
_SETTINGS: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "svg.hashsalt": "lookboth",  # the same data gives the same file
}


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Args:
        figure: of matplotlib.
        name: of its file, without suffix.
        alt: what it shows, for those who do not see it.
        caption: how to read it.
    """

    figure: "Figure"
    name: str
    alt: str
    caption: str

    def save(self, folder: Path, relative_to: Path) -> Picture:
        """Write the figure as SVG and return what a page needs to show it.

        Args:
            folder: where the file goes; made when it is missing.
            relative_to: folder of the page.
        """
        import matplotlib

        path = folder / f"{self.name}.svg"
        with matplotlib.rc_context(_SETTINGS), whole_file(path) as unfinished:
            self.figure.savefig(unfinished, metadata={"Date": None, "Title": self.alt})
        return Picture(path.relative_to(relative_to).as_posix(), self.alt, self.caption)


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw in the house style inside this block.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("plots need matplotlib. Type: pip install 'lookboth[report]'") from error
    with matplotlib.rc_context(_SETTINGS):
        yield


def panels(
    titles: Sequence[str], *, height: float = 2.7, width: float = 4.4, columns: int = 2
) -> tuple["Figure", list["Axes"]]:
    """Return a figure with one titled panel for each title.

    Args:
        titles: of the panels.
        height, width: of one panel, in inches.
        columns: side by side.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    # A single panel is drawn wider: it is alone on its line.
    figure = Figure(
        figsize=(width * columns if columns > 1 else 1.4 * width, height * rows), layout="constrained"
    )
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, loc="left", fontweight="bold")
    for spare in axes[len(titles) :]:
        spare.set_axis_off()
    return figure, axes[: len(titles)]


def share_legend(figure: "Figure", axes: Sequence["Axes"], columns: int = 4) -> None:
    """Put one legend of everything in the panels below them, in as many columns as the figure is wide enough for."""
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    for count in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()

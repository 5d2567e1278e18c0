"""Style of all plots: colours for any colour vision, one marker per colour, panels in a grid."""

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

# The colours of Okabe & Ito. The first two are used for the baseline and the dev choice.
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
    # Without a fixed salt, the same data would give a different file each time.
    "svg.hashsalt": "lookboth",
}


@dataclass(frozen=True)
class Plot:
    """A drawn figure.

    Args:
        figure: matplotlib figure.
        name: name of its file, without suffix.
        alt: description for readers who cannot see it.
        caption: explanation of the plot.
    """

    figure: "Figure"
    name: str
    alt: str
    caption: str

    def save(self, folder: Path, relative_to: Path) -> Picture:
        """Write the figure as SVG and return its block for a page.

        Args:
            folder: folder of the file; created if missing.
            relative_to: folder of the page.
        """
        import matplotlib

        path = folder / f"{self.name}.svg"
        with matplotlib.rc_context(_SETTINGS), whole_file(path) as unfinished:
            self.figure.savefig(unfinished, metadata={"Date": None, "Title": self.alt})
        return Picture(path.relative_to(relative_to).as_posix(), self.alt, self.caption)


@contextmanager
def plot_style() -> Iterator[None]:
    """Apply the style of the plots inside a `with` block.

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
    """Return a figure with one panel per title.

    Args:
        titles: titles of the panels.
        height, width: size of one panel, in inches.
        columns: panels per row.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    # A single panel has the row to itself, so it is wider.
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
    """Add one legend below all panels, with as many columns as fit the width of the figure."""
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    for count in range(min(columns, len(handles)), 0, -1):
        legend = figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=count)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()

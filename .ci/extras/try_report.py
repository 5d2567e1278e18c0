"""The extra `report`: t-tests and plots."""

from lookboth.evaluation.seeds import import_scipy_stats
from lookboth.reporting.style import plot_style

assert import_scipy_stats().ttest_rel([1.0, 2.0, 4.0], [0.0, 0.5, 1.0]).pvalue < 0.2
with plot_style():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    figure.savefig("plot.svg")

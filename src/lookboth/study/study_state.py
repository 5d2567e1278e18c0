"""The state of a study: which cells are finished, ready to run, waiting or failed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lookboth.study.cells import Cell, Setting


@dataclass
class StudyState:
    """Finished and failed runs of a study.

    Args:
        settings: settings of the study, in file order.
        seeds: seeds of the reported runs.
        scores: dev score of each finished run, by run name.
        seconds: duration of each finished run in seconds, by run name.
        failed: error message of each failed run, by run name.
    """

    settings: Sequence[Setting]
    seeds: Sequence[int]
    scores: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ready(self) -> list[Cell]:
        """Return the cells that can run now: tuning runs first, then the reported runs, seed by seed."""
        cells = [cell for setting in self.settings for cell in setting.tuning_cells if not self.is_done(cell)]
        chosen = [(setting, setting.chosen(self.scores)) for setting in self.settings]
        cells += [
            setting.final_cell(seed, choice)
            for seed in self.seeds
            for setting, choice in chosen
            if choice is not None and f"{setting.name}/seed-{seed}" not in self.scores
        ]
        return [cell for cell in cells if str(cell) not in self.failed and not self.is_done(cell)]

    def num_cells(self) -> int:
        """Return the number of runs of the study, including tuning runs."""
        tuning = sum(len(setting.tuning_cells) for setting in self.settings)
        return tuning + len(self.settings) * len(self.seeds)

    def num_left(self) -> int:
        """Return the number of unfinished runs, including those that wait for tuning."""
        return self.num_cells() - len(self.scores) - len(self.failed)

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell is finished, and store its score.

        Raises:
            DataError: the folder holds a run of another recipe.
        """
        name = str(cell)
        if name not in self.scores and (outcome := cell.outcome()) is not None:
            self.scores[name], self.seconds[name] = outcome
        return name in self.scores

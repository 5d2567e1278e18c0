"""Which cells of a study are done, ready or waiting."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lookboth.study.cells import Cell, Setting


@dataclass
class StudyState:
    """What is done, what runs, what failed.

    Args:
        settings: of the study, in the order of the file.
        seeds: of the reported runs.
        scores: the dev score of each finished run, by its name.
        seconds: how long each finished run took, by its name.
        failed: the error of each run that failed, by its name.
    """

    settings: Sequence[Setting]
    seeds: Sequence[int]
    scores: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def ready(self) -> list[Cell]:
        """Return the cells that can be run now: tuning first, then one seed of every setting after another."""
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
        """Return how many runs the study has, tuning included."""
        tuning = sum(len(setting.tuning_cells) for setting in self.settings)
        return tuning + len(self.settings) * len(self.seeds)

    def num_left(self) -> int:
        """Return how many runs are still to be done, those that wait for what is tuned among them."""
        return self.num_cells() - len(self.scores) - len(self.failed)

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell is finished, and remember its score.

        Raises:
            DataError: the folder holds a run of another recipe.
        """
        name = str(cell)
        if name not in self.scores and (outcome := cell.outcome()) is not None:
            self.scores[name], self.seconds[name] = outcome
        return name in self.scores

"""Dev scores during training: scores dev data at the scheduled steps and keeps the weights of the best score."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lookboth.errors import DataError
from lookboth.files import read_state, write_json
from lookboth.run_folder import TrainingFolder
from lookboth.training.averaging import Averager
from lookboth.training.checkpoints import load_weights, write_weights
from lookboth.training.loss_callbacks import SectionLog
from lookboth.training.process_group import gather_from_ranks, on_rank_zero


@dataclass
class History:
    """Dev scores of a run.

    Args:
        steps, scores: optimizer step and dev score of each evaluation, in order.
        best_step, best_score: the step and score of the saved weights; ties keep the earlier one.
        stopped_early: whether early stopping ended the run.
    """

    steps: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_step: int = 0
    best_score: float = -1.0
    stopped_early: bool = False

    def since_best(self) -> int:
        """Return the number of evaluations since the best one."""
        return sum(step > self.best_step for step in self.steps)


class KeepBest(TrainerCallback):
    """Scores dev data at the scheduled steps, saves the best weights and stops when patience runs out."""

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        score_dev: Callable[[], float],
        at_steps: set[int],
        patience: int | None,
        log: SectionLog,
        averager: Averager,
    ) -> None:
        self.model, self.folder, self.score_dev, self.log = model, TrainingFolder(folder), score_dev, log
        self.averager = averager
        self.at_steps, self.patience = at_steps, patience
        self.history = History()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Load the stored history if the run resumes."""
        # A run without a checkpoint starts at step 0, so a stored history is from before the restart.
        self.history = self._saved_history() if state.global_step else History()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Score dev data if it is due, store the history, and stop when patience runs out."""
        history, step = self.history, state.global_step
        if step in self.at_steps and step not in history.steps:
            with self.averager.averaged(step):
                self._score(step)
            if self.patience is not None and history.since_best() >= self.patience:
                history.stopped_early = control.should_training_stop = True
            on_rank_zero(lambda: write_json(self.folder.history, asdict(history)))
            # The checkpoint and the history must describe the same step, or a resumed run would score it twice.
            control.should_save = True
            self.log.info(
                f"step {step}: dev {100 * history.scores[-1]:.2f} (best {100 * history.best_score:.2f})"
            )
        return control

    def _score(self, step: int) -> None:
        """Score the current weights and save them if they are the best so far."""
        history = self.history
        # Scores may differ by rounding between processes; all must use rank 0's to take the same decisions.
        score = gather_from_ranks(self.score_dev())[0]
        history.steps.append(step)
        history.scores.append(score)
        if score > history.best_score:
            history.best_step, history.best_score = step, score
            write_weights(self.model, self.folder.best)

    def finished(self) -> bool:
        """Load the stored history and return whether early stopping has already ended this run."""
        self.history = self._saved_history()
        return self.history.stopped_early

    def _saved_history(self) -> History:
        file = self.folder.history
        stored = read_state(file, lambda content: History(**content))
        # Without the history, worse weights could overwrite the best ones.
        if stored is None and file.exists():
            raise DataError(
                f"{file}: damaged, so this training cannot be resumed. Remove the folder {self.folder.path} and start "
                "again."
            )
        return stored or History()

    def restore_best(self) -> None:
        """Load the weights of the best dev score, if any were saved."""
        file = self.folder.best
        if self.history.steps and file.is_file():
            load_weights(self.model, file)

"""The folders of runs and trainings, with the names of all files in them."""

from dataclasses import dataclass
from pathlib import Path

RUN_FILE = "run.json"
PREDICTIONS_FILE = "predictions.jsonl"


@dataclass(frozen=True)
class TrainingFolder:
    """The state from which a training resumes: weights, scores and checkpoints.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def best(self) -> Path:
        """The trained weights with the best dev score."""
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        """The dev scores so far."""
        return self.path / "history.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of transformers' Trainer."""
        return self.path / "checkpoints"

    @property
    def seconds(self) -> Path:
        """The time that a training or search took before it was interrupted, by part, in seconds."""
        return self.path / "seconds.json"

    @property
    def adaptation_report(self) -> Path:
        """Result of an adaptation to raw text; written last, so its presence marks a finished folder."""
        return self.path / "adaptation.json"

    @property
    def adaptation(self) -> "TrainingFolder":
        """Folder of the adaptation to raw text before this training."""
        return TrainingFolder(self.path / "adaptation")

    @property
    def search(self) -> "TrainingFolder":
        """Folder of the plan search before this training."""
        return TrainingFolder(self.path / "search")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: recipe, result, labeler, and the state to resume from.

    Args:
        path: the folder.
    """

    path: Path

    @classmethod
    def of_seed(cls, out: Path, seed: int) -> "RunFolder":
        """Return the folder in `out` for one of several seeds."""
        return cls(out / f"seed-{seed}")

    @classmethod
    def of_seeds(cls, out: Path) -> list["RunFolder"]:
        """Return the folders of all seeds in `out`."""
        return [cls(path) for path in sorted(out.glob("seed-*"))]

    @classmethod
    def of_fold(cls, out: Path, number: int) -> "RunFolder":
        """Return the folder in `out` for one of several folds, counted from 0."""
        return cls(out / f"fold-{number}")

    @classmethod
    def below(cls, root: Path) -> list["RunFolder"]:
        """Return the folders of all finished runs at any depth, sorted by path."""
        return [cls(file.parent) for file in sorted(root.rglob(RUN_FILE))]

    @property
    def run(self) -> Path:
        """Recipe, data and scores of the run; written last, so its presence marks a finished run."""
        return self.path / RUN_FILE

    @property
    def predictions(self) -> Path:
        """The scored sentences with gold and predicted spans."""
        return self.path / PREDICTIONS_FILE

    @property
    def packed_predictions(self) -> Path:
        """The same file, compressed with gzip."""
        return self.path / f"{PREDICTIONS_FILE}.gz"

    @property
    def labeler(self) -> Path:
        """Folder of the saved labeler."""
        return self.path / "labeler"

    @property
    def training(self) -> TrainingFolder:
        """The state from which the training resumes."""
        return TrainingFolder(self.path / "training")

    @property
    def recipe(self) -> Path:
        """The recipe with which the run was started."""
        return self.path / "recipe.json"

    @property
    def data_hashes(self) -> Path:
        """Hashes of the data with which the run was started; missing in runs of older versions."""
        return self.path / "data.json"

    @property
    def evidence(self) -> Path:
        """Results of a plan search."""
        return self.path / "search.json"

    @property
    def teacher_outputs(self) -> Path:
        """Folder of the stored outputs of teachers, for the runs with all seeds in this folder."""
        return self.path / "teacher_outputs"

    @property
    def out_of_fold(self) -> Path:
        """Tag probabilities for the sentences of a fold that the run was not trained on."""
        return self.path / "out_of_fold.npz"

    @property
    def epoch_predictions(self) -> Path:
        """Predictions after each epoch for the sentences of a fold that the run was not trained on."""
        return self.path / "epoch_predictions.json"

    @property
    def diverged(self) -> Path:
        """Marks a tuning run that ended because its loss diverged; replaces `run`."""
        return self.path / "diverged.json"

    @property
    def log(self) -> Path:
        """Messages logged during a run of a study."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Lock file that excludes a second process."""
        return self.path / ".lock"

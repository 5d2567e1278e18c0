"""The folders of runs and trainings: every file name in them, in one place."""

from dataclasses import dataclass
from pathlib import Path

RUN_FILE = "run.json"
PREDICTIONS_FILE = "predictions.jsonl"


@dataclass(frozen=True)
class TrainingFolder:
    """What a training leaves for its next start: weights, scores, and the state of its steps.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def best(self) -> Path:
        """The trained weights of the best dev score."""
        return self.path / "best.safetensors"

    @property
    def history(self) -> Path:
        """The dev scores so far."""
        return self.path / "history.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of what transformers' Trainer resumes from."""
        return self.path / "checkpoints"

    @property
    def seconds(self) -> Path:
        """The time that parts of a training, or a search, took in earlier starts."""
        return self.path / "seconds.json"

    @property
    def adaptation_report(self) -> Path:
        """What an adaptation to raw text came to; written last, so that a folder with it is finished."""
        return self.path / "adaptation.json"

    @property
    def adaptation(self) -> "TrainingFolder":
        """Folder of the adaptation to raw text that comes before."""
        return TrainingFolder(self.path / "adaptation")

    @property
    def search(self) -> "TrainingFolder":
        """Folder of the plan search that comes before."""
        return TrainingFolder(self.path / "search")


@dataclass(frozen=True)
class RunFolder:
    """One run: what it was asked for, its result, its labeler, and the training it can be resumed from.

    Args:
        path: the folder.
    """

    path: Path

    @classmethod
    def of_seed(cls, out: Path, seed: int) -> "RunFolder":
        """Return the folder of one seed of several in `out`."""
        return cls(out / f"seed-{seed}")

    @classmethod
    def of_seeds(cls, out: Path) -> list["RunFolder"]:
        """Return the folders of all seeds that are in `out`."""
        return [cls(path) for path in sorted(out.glob("seed-*"))]

    @classmethod
    def below(cls, root: Path) -> list["RunFolder"]:
        """Return the folders of all finished runs at any depth, sorted by path."""
        return [cls(file.parent) for file in sorted(root.rglob(RUN_FILE))]

    @property
    def run(self) -> Path:
        """What was run, on what, with which scores; written last, so that a folder with it is finished."""
        return self.path / RUN_FILE

    @property
    def predictions(self) -> Path:
        """The scored sentences with gold and predicted spans."""
        return self.path / PREDICTIONS_FILE

    @property
    def packed_predictions(self) -> Path:
        """The same, packed by gzip."""
        return self.path / f"{PREDICTIONS_FILE}.gz"

    @property
    def labeler(self) -> Path:
        """Folder of the saved labeler."""
        return self.path / "labeler"

    @property
    def training(self) -> TrainingFolder:
        """What the training is resumed from."""
        return TrainingFolder(self.path / "training")

    @property
    def recipe(self) -> Path:
        """The recipe that the run was begun with."""
        return self.path / "recipe.json"

    @property
    def data_hashes(self) -> Path:
        """Hashes of the data that the run was begun with; runs of older versions have none."""
        return self.path / "data.json"

    @property
    def evidence(self) -> Path:
        """What a plan search found."""
        return self.path / "search.json"

    @property
    def diverged(self) -> Path:
        """That a tuning run ended because its loss grew without bound, in place of `run`."""
        return self.path / "diverged.json"

    @property
    def log(self) -> Path:
        """What was reported while a run of a study went on."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """Lock that keeps a second process out."""
        return self.path / ".lock"

"""Copy the finished runs of a study to experiments/results: python experiments/pack_study.py runs/NAME"""

import argparse
import gzip
import json
import re
from pathlib import Path

from lookboth.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results"


def pack(study: Path, out: Path, *, predictions: bool = True) -> int:
    """Copy run.json, the evidence of searches and the compressed predictions of every finished run.

    A study that is run with `--out` set to the copy resumes from the copied runs.

    Args:
        study: folder of the runs.
        out: folder of the copy.
        predictions: whether to copy them too.

    Returns:
        Number of copied runs.
    """
    runs = RunFolder.below(study)
    for run in runs:
        target = RunFolder(out / run.path.relative_to(study))
        target.path.mkdir(parents=True, exist_ok=True)
        target.run.write_bytes(run.run.read_bytes())
        if run.evidence.is_file():
            target.evidence.write_bytes(run.evidence.read_bytes())
        tuning = "tuning" in target.path.relative_to(out).parts
        if predictions and not tuning and run.predictions.is_file():
            packed = gzip.compress(_portable(run.predictions), compresslevel=9, mtime=0)
            target.packed_predictions.write_bytes(packed)
    return len(runs)


def _portable(predictions: Path) -> bytes:
    """Return the predictions without the path of this installation in their sources."""
    rows = map(json.loads, predictions.read_text(encoding="utf-8").splitlines())
    short = [{**row, "source": re.sub(r"^.*/(?=lookboth/data/builtin/)", "", row["source"])} for row in rows]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in short).encode()


def main() -> None:
    """Parse the options and copy the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--scores-only", action="store_true", help="leave predictions out, for size")
    options = parser.parse_args()
    out = options.out or RESULTS / options.study.name
    print(f"{pack(options.study, out, predictions=not options.scores_only)} runs in {out}")


if __name__ == "__main__":
    main()

"""Copy the finished runs of a study to experiments/results: python experiments/pack_study.py runs/NAME"""

import argparse
import json
from pathlib import Path

from lookboth.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results"


def pack(study: Path, out: Path) -> int:
    """Copy run.json and the evidence of searches of every finished run; predictions are omitted for size.

    A study that is run with `--out` set to the copy resumes from the copied runs.

    Args:
        study: folder of the runs.
        out: folder of the copy.

    Returns:
        Number of copied runs.
    """
    runs = RunFolder.below(study)
    for run in runs:
        target = RunFolder(out / run.path.relative_to(study))
        target.path.mkdir(parents=True, exist_ok=True)
        # On one line, a run takes half the space.
        content = json.loads(run.run.read_text(encoding="utf-8"))
        target.run.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
        if run.evidence.is_file():
            target.evidence.write_bytes(run.evidence.read_bytes())
    return len(runs)


def main() -> None:
    """Parse the options and copy the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    out = options.out or RESULTS / options.study.name
    print(f"{pack(options.study, out)} runs in {out}")


if __name__ == "__main__":
    main()

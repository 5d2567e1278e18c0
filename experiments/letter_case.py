"""F1 of a labeler on test data in capitals and lower case: python experiments/letter_case.py LABELER OUT.json"""

import argparse
import json
from pathlib import Path

from lookboth import Labeler, evaluate_labeler, read_split
from lookboth.config import DataConfig
from lookboth.data import map_labels
from lookboth.training.letter_case import change_case

DATA = ("uner_en_pud", "uner_en_ewt", "wikigold")
CASES = {"as it is": {}, "capitals": {"upper_case": 1.0}, "lower case": {"lower_case": 1.0}}


def main() -> None:
    """Score a labeler on the test sets of the shipped ones, in fp32, and write F1 by data set and letter case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labeler", help="folder of a labeler, or the name of a shipped one")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    labeler = Labeler.from_pretrained(args.labeler, device="cpu", precision="fp32")
    found = {data: scores(labeler, data) for data in DATA}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def scores(labeler: Labeler, data: str) -> dict[str, float]:
    """Return strict micro F1 on the test split of a data set, by letter case; MISC is left out."""
    examples = map_labels(read_split(data, "test").examples, {"MISC": ""})
    found = {}
    for case, shares in CASES.items():
        changed = change_case(examples, DataConfig(train=(data,), **shares), seed=0)
        found[case] = round(evaluate_labeler(labeler, changed, interval=False).scores.micro.f1, 6)
    return found


if __name__ == "__main__":
    main()

"""The extra `data`: a data set that `datasets` saved is read."""

from datasets import Dataset, DatasetDict

from lookboth import read_split

split = Dataset.from_dict({"tokens": [["Ada", "slept"]], "tags": [["B-PER", "O"]]})
DatasetDict({"train": split}).save_to_disk("saved")
(example,) = read_split("saved", "train").examples
assert [span.label for span in example.spans] == ["PER"]

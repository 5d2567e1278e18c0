"""Options of a bulk run: those that decide its result, and the workers that compute it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from lookboth.errors import ConfigError
from lookboth.memory import BULK_BATCH
from lookboth.models import Precision

INPUT_FORMATS = ("parquet", "jsonl", "text")
OUTPUT_FORMATS = ("parquet", "jsonl")
OWN_COLUMNS = ("source", "row", "spans")


@dataclass(frozen=True)
class BulkOptions:
    """Options that decide the result; a run can only be resumed with the same ones.

    Args:
        column: column of the texts in Parquet and JSON lines; in plain text, the name given to the lines.
        keep: input columns to copy to the output, for example a key, or the text itself.
        input_format: "parquet", "jsonl" or "text" for all files; None: by the suffix of each file.
        output_format: "parquet" or "jsonl"; None: "parquet" if all input is Parquet, else "jsonl".
        min_score: spans with a lower score are left out.
        thresholds: leave out spans below the labeler's calibrated thresholds.
        precision: as for `open_labeler`.
        max_chars: a row with a longer text is invalid.
        labels: labels of an open labeler, each as "name" or "name: description"; empty: those of its training.
        part_bytes, part_rows: size of a part, the unit that is written and resumed; a part ends with the row that
            reaches one of the two.

    Raises:
        ConfigError: a value out of range.
    """

    column: str = "text"
    keep: tuple[str, ...] = ()
    input_format: str | None = None
    output_format: str | None = None
    min_score: float = 0.0
    thresholds: bool = False
    precision: str = "auto"
    max_chars: int = 1_000_000
    part_bytes: int = 512 * 1024
    part_rows: int = 10_000
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_known("input format", self.input_format, INPUT_FORMATS)
        _require_known("output format", self.output_format, OUTPUT_FORMATS)
        _require_known("precision", self.precision, get_args(Precision))
        taken = sorted(set(self.keep) & set(OWN_COLUMNS))
        if taken or len(set(self.keep)) < len(self.keep):
            what = f"{taken[0]!r} is a column of the result" if taken else f"{self.keep} names a column twice"
            raise ConfigError(
                f"--keep: {what}. The result has the columns {', '.join(OWN_COLUMNS)}. Name each column once, and "
                "rename an input column that has one of these names."
            )
        for name in ("max_chars", "part_bytes", "part_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more.")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "keep": list(self.keep), "labels": list(self.labels)}


@dataclass(frozen=True)
class Workers:
    """Worker processes of a run; they may change when it is resumed.

    Args:
        count: processes, each with its own labeler; None: one per GPU, or one without GPUs.
        gpus: GPUs per worker, or a fraction of one (0.5); None: one if there are GPUs, else none.
        cpus: CPUs per worker; None: this machine's CPUs divided evenly, or 1 on a cluster.
        address: address of a running Ray cluster ("auto", "HOST:6379"); None: this machine only.
        batch_tokens: tokens computed at once; None: as `predict` on a CPU, `BULK_BATCH` on a GPU.

    Raises:
        ConfigError: a value out of range.
    """

    count: int | None = None
    gpus: float | None = None
    cpus: float | None = None
    address: str | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("gpus", 0), ("cpus", 0), ("batch_tokens", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"workers: {name} is {value}; it must be {least} or more.")

    def chosen(self, there: Mapping[str, float]) -> "Workers":
        """Return a copy in which every None is replaced by its default for these resources.

        Args:
            there: number of "CPU" and "GPU" of this machine or the cluster.

        Raises:
            ConfigError: this machine has too few CPUs or GPUs. A cluster is not checked, as it may grow.
        """
        num_cpus, num_gpus = there.get("CPU", 1.0), there.get("GPU", 0.0)
        gpus = float(num_gpus > 0) if self.gpus is None else self.gpus
        count = self.count or (max(1, int(num_gpus / gpus)) if gpus else 1)
        cpus = self.cpus if self.cpus is not None else 1.0 if self.address else max(1.0, num_cpus // count)
        # An autoscaling cluster may still add machines, so only this machine is checked.
        if self.address is None and (count * gpus > num_gpus or count * cpus > num_cpus):
            raise ConfigError(
                f"{count} workers with {cpus:g} CPUs and {gpus:g} GPUs each: there are {num_cpus:g} CPUs and "
                f"{num_gpus:g} GPUs. Use fewer --workers, or fewer CPUs and GPUs per worker."
            )
        return Workers(count, gpus, cpus, self.address, self.batch_tokens or (BULK_BATCH if gpus else None))


def _require_known(what: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ConfigError(f"{what} {value!r} is unknown; allowed: {', '.join(known)}.")

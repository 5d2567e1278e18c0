"""The manifest of a bulk run: options, model, input files and parts; it makes the run resumable."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.input_files import InputFile
from lookboth.bulk.parts import Part
from lookboth.errors import ConfigError, DataError

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Description of a bulk run, fixed at its start.

    Args:
        options: options of the run, with the output format chosen.
        models: sha256 of the files of each labeler by name, in the order of their spans; the name of an only one may be
            "".
        files: input files.
        parts: parts of the files; the number of a part is its index.
    """

    options: BulkOptions
    models: Mapping[str, str]
    files: tuple[InputFile, ...]
    parts: tuple[Part, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether the labelers have names, which are written into the spans."""
        return set(self.models) != {""}

    def to_json(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(
            {
                "format": FORMAT,
                "options": self.options.to_dict(),
                "model": self.models if self.is_named else self.models[""],
                "files": [asdict(file) for file in self.files],
                "parts": self.parts,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Manifest":
        """Return the manifest from its JSON.

        Args:
            text: output of `to_json`.
            where: path of the file, for messages.

        Raises:
            DataError: the text is damaged or from a newer version.
        """
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise DataError(f"{where}: format {data['format']}; this version of lookboth reads {FORMAT}.")
            found = data["options"]
            # Runs that were started by earlier versions have no labels.
            lists = {"keep": tuple(found["keep"]), "labels": tuple(found.get("labels", ()))}
            options = BulkOptions(**found | lists)
            models = data["model"] if isinstance(data["model"], dict) else {"": data["model"]}
            files = tuple(InputFile(**file) for file in data["files"])
            return cls(options, models, files, tuple(Part(*part) for part in data["parts"]))
        # RecursionError: JSON that is nested too deeply.
        except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
            raise DataError(
                f"{where}: damaged ({error!r:.100}). Start a new run in another output folder."
            ) from error

    def differences(self, now: "Manifest") -> list[str]:
        """Describe the differences from another manifest that would change the result.

        Args:
            now: manifest of the present call; its parts are not compared.
        """
        before, after = self.options.to_dict(), now.options.to_dict()
        different = [
            f"{name} was {before[name]!r} and is {after[name]!r}"
            for name in (field.name for field in fields(BulkOptions))
            if before[name] != after[name]
        ]
        different += _other_models(self.models, now.models)
        if self.files != now.files:
            different.append(_difference(self.files, now.files))
        return different


def decided(options: BulkOptions, files: list[InputFile]) -> BulkOptions:
    """Return the options with the output format filled in from the formats of the files."""
    all_parquet = all(file.format == "parquet" for file in files)
    return replace(options, output_format=options.output_format or ("parquet" if all_parquet else "jsonl"))


def _other_models(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if list(before) != list(now):
        names = [", ".join(name or "one without a name" for name in models) for models in (before, now)]
        return [f"the labelers were {names[0]} and are {names[1]}"]
    changed = [f"the labeler {name}".rstrip() for name in now if before[name] != now[name]]
    return [f"{labeler} is a different one" for labeler in changed]


def _difference(before: tuple[InputFile, ...], now: tuple[InputFile, ...]) -> str:
    then, there = ({file.name: file for file in files} for files in (before, now))
    for name in [*then, *there]:
        if then.get(name) != there.get(name):
            state = "was removed" if name not in there else "is new" if name not in then else "has changed"
            return f"{name} in the input {state}"
    return "the input files are in another order"

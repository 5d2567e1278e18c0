"""The extra `bulk`: a file is labeled by a worker that Ray starts, and the same again has nothing left to do."""

import subprocess
import sys
from pathlib import Path

from pyarrow import parquet

COMMAND = [Path(sys.executable).parent / "lookboth", "bulk", "texts.txt", "labeled", "--model", sys.argv[1]]

Path("texts.txt").write_text("Ada Lovelace lived in London.\nNothing here.\n", encoding="utf-8")
for expected in ("2 rows", "nothing was left to do"):
    done = subprocess.run([*COMMAND, "--format", "parquet"], capture_output=True, text=True, check=True)
    assert expected in done.stdout, done.stdout
assert parquet.read_table("labeled").column("row").to_pylist() == [0, 1]

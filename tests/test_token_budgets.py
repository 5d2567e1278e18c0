"""The default numbers of tokens computed at once have one owner, `lookboth.memory`."""

import re
from pathlib import Path

import lookboth
from lookboth.memory import BULK_BATCH, LARGE_BATCH, SMALL_BATCH

SOURCE = Path(lookboth.__file__).parent
SPELLED = re.compile(rf"batch_tokens.*\b({SMALL_BATCH}|{LARGE_BATCH}|{BULK_BATCH})\b")


def test_no_other_module_spells_a_default_for_batch_tokens():
    found = {path.name for path in SOURCE.rglob("*.py") if SPELLED.search(path.read_text(encoding="utf-8"))}
    # The demo trains with a number of its own, as a recipe does.
    assert found - {"demo.py"} == set()


def test_the_documents_give_the_defaults():
    docs = SOURCE.parents[1] / "docs"
    serving, bulk = ((docs / name).read_text(encoding="utf-8") for name in ("serving.md", "bulk.md"))
    assert f"| `batch_tokens` | {SMALL_BATCH} on a CPU, else {LARGE_BATCH} |" in serving
    assert f"{LARGE_BATCH:,} in bf16 and {SMALL_BATCH} in fp32, {BULK_BATCH} on a GPU" in bulk

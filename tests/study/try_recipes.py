"""Run every recipe and study on tiny models: python tests/study/try_recipes.py [PATTERN]; see `tiny_runs`."""

import sys
import tempfile
import time
import traceback
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tiny_runs import all_runs, tiny_run

from lookboth.training import train


def main(pattern: str = "*") -> int:
    """Run all recipes whose name matches; return the number of failures."""
    failed = []
    with tempfile.TemporaryDirectory() as work:
        for name, config in all_runs(Path(work) / "out"):
            if not fnmatch(name, pattern):
                continue
            start = time.monotonic()
            try:
                train(tiny_run(config, Path(work)), Path(work) / "runs" / name)
            # One failure must not hide the others.
            except Exception:
                traceback.print_exc()
                failed.append(name)
            print(
                f"{'FAILED' if name in failed else 'ok'} {name} {time.monotonic() - start:.1f} s", flush=True
            )
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else "all recipes run")
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:])))

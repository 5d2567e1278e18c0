"""A bulk run on Ray whose driver is killed, and after it a worker: nothing is lost, nothing done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tiny import CORPUS

pytest.importorskip("ray")

from lookboth.bulk import bulk_run as run
from lookboth.bulk.bulk_options import BulkOptions
from lookboth.bulk.bulk_run import run_bulk

WORDS = " ".join(CORPUS).split()
NUM_ROWS = 400
PART_BYTES = 4000
PATIENCE = 900.0  # seconds, on a busy machine; it takes forty alone


def write_texts(folder: Path) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 120))) for _ in range(NUM_ROWS)]
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(texts[:150]) + "\n")
    lines = [json.dumps({"text": text}) for text in texts[150:]]
    lines[7] = lines[200] = '{"text": 0}'
    (folder / "b.jsonl").write_text("\n".join(lines))


def start(source: Path, out: Path, model: Path, workers: int) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "lookboth.cli",
        "bulk",
        source,
        out,
        "--model",
        model,
        "--workers",
        workers,
    ]
    # Ray gives its workers the lowest priority, with which they wait for every other test of this machine.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    with (out.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [*map(str, command), "--part-bytes", str(PART_BYTES), "--cpus-per-worker", "1"],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip


def wait_until(done: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert process.poll() in (None, 0), log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.005)


def workers_of(driver: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(driver.pid).children(recursive=True)
    return [child for child in children if "MapWorker" in " ".join(child.cmdline())]


def receipts(out: Path) -> dict[int, dict]:
    found = [json.loads(path.read_bytes()) for path in (out / "_bulk" / "parts").glob("*.json")]
    return {receipt["part"]: receipt for receipt in found}


def content(out: Path) -> dict[str, list[dict]]:
    """Return the records of each file of spans and of bad rows, scores rounded as arithmetic may differ."""
    files = sorted([*out.glob("part-*"), *out.glob("_bad/*")])
    records = {
        str(path.relative_to(out)): [json.loads(line) for line in path.read_bytes().splitlines()]
        for path in files
    }
    for span in (span for rows in records.values() for row in rows for span in row.get("spans", ())):
        span["score"] = pytest.approx(span["score"], abs=1e-3)
    return records


@pytest.fixture(scope="module")
def story(tmp_path_factory, labeler_folder) -> dict:
    """Start with two workers, kill the driver; start again with one, kill the worker; see it end."""
    folder = tmp_path_factory.mktemp("killed")
    source, out, log = folder / "in", folder / "out", folder / "log"
    write_texts(source)
    driver = start(source, out, labeler_folder, workers=2)
    wait_until(lambda: len(receipts(out)) >= 3, driver, log)
    orphans = workers_of(driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(orphans, timeout=PATIENCE)
    first = receipts(out)
    stamps = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("part-*")}

    driver = start(source, out, labeler_folder, workers=1)
    wait_until(lambda: len(receipts(out)) >= len(first) + 3, driver, log)
    (worker,) = workers_of(driver)
    worker.kill()
    wait_until(lambda: driver.poll() is not None, driver, log)
    return {
        "source": source, "out": out, "log": log.read_text(), "alive": alive, "first": first, "stamps": stamps,
        "killed": worker.pid, "orphans": orphans,
    }  # fmt: skip


def test_no_worker_outlives_its_driver(story):
    assert len(story["orphans"]) == 2
    assert story["alive"] == []


def test_finished_parts_are_not_written_again(story):
    first, out = story["first"], story["out"]
    assert 3 <= len(first) < len(receipts(out)), "the driver died too late to show anything"
    names = [f"part-{number:08}.jsonl" for number in first]
    now = {name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns) for name in names}
    assert now == {name: story["stamps"][name] for name in names}


def test_another_worker_takes_the_place_of_the_killed_one(story):
    later = [receipt for part, receipt in receipts(story["out"]).items() if part not in story["first"]]
    workers = {int(receipt["worker"].rpartition(":")[2]) for receipt in later}
    assert story["killed"] in workers
    assert len(workers) == 2, "the worker died too late to show anything"


def test_the_result_is_that_of_a_run_without_harm(story, without_ray, labeler_folder, tmp_path):
    options = BulkOptions(part_bytes=PART_BYTES)
    whole = run_bulk(story["source"], tmp_path / "out", options, model=labeler_folder)
    found = content(story["out"])
    assert found == content(tmp_path / "out")
    rows = [(row["source"], row["row"]) for records in found.values() for row in records]
    assert len(set(rows)) == len(rows) == NUM_ROWS
    assert whole.total.bad == 2
    assert whole.describe().splitlines()[0].split(":")[0] in story["log"], "the summary counts both tries"
    assert not run.OutFolder(run.open_place(str(story["out"]))).place.within("_bulk/work").list()

"""The extra `serve`: the server starts, labels over HTTP, and stops when told."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

COMMAND = [Path(sys.executable).parent / "lookboth", "serve", sys.argv[1], "--port", "0"]

server = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True)
assert server.stderr is not None
try:
    url = next(json.loads(line)["url"] for line in server.stderr if '"url"' in line)
    assert urlopen(f"{url}/healthz", timeout=30).status == 200
    body = json.dumps({"text": "Ada Lovelace lived in London."}).encode()
    with urlopen(
        Request(f"{url}/v1/label", body, {"Content-Type": "application/json"}), timeout=30
    ) as answer:
        assert json.load(answer)["predictions"][0]["text"].startswith("Ada")
    assert b"swagger" in urlopen(f"{url}/docs", timeout=30).read()
finally:
    server.terminate()
    assert server.wait(60) == 0

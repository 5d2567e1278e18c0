"""The Ray that a bulk run starts on this machine answers nobody else: on loopback addresses, and with its key."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("ray")

# Prints the address of every listening socket of Ray's processes which clients get in, with the key and without.
CODE = """
import json, os, subprocess, sys
import psutil
from lookboth.bulk.cluster import connected
from lookboth.bulk.bulk_options import Workers

with connected(Workers(1)):
    import ray
    sockets = {
        connection.laddr[:2]
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    code = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('let in')"
    address = ray.get_runtime_context().gcs_address

    def ask(**keys):
        environment = {**os.environ, **keys}
        return subprocess.run([sys.executable, "-c", code, address], env=environment, capture_output=True, text=True)

    told = {"friend": ask().stdout, "stranger": ask(RAY_AUTH_TOKEN="0" * 64).stdout}
    print(json.dumps({"sockets": sorted(sockets), **told}))
"""


@pytest.fixture(scope="module")
def seen():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_listens_on_loopback_addresses_only(seen):
    assert len(seen["sockets"]) >= 2  # at least the control store and the scheduler of the node
    assert [host for host, _ in seen["sockets"] if host not in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}] == []


def test_a_client_needs_the_key_of_the_run(seen):
    assert "let in" in seen["friend"]
    assert "let in" not in seen["stranger"]

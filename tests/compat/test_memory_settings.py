"""What lookboth sets to keep memory constant is obeyed by oneDNN and glibc."""

import os
import subprocess
import sys

import pytest

from lookboth.compat import has_onednn_product, keep_few_products, return_free_memory

# The product of the first shape is computed again after those of others; oneDNN prints whether it was kept.
PRODUCTS = """
from lookboth.compat import keep_few_products
if {work!r}:
    keep_few_products({work!r})
import torch
from lookboth.compat import onednn_product
weight = torch.randn(16, 16)
for rows in (*range(1, 150), 1):
    onednn_product(torch.randn(rows, 16), weight)
"""


@pytest.mark.skipif(not has_onednn_product(), reason="a torch without oneDNN")
@pytest.mark.parametrize(
    ("work", "kept"),
    [
        ("bulk", "cache_miss"),
        ("serving", "cache_miss"),
        ("training", "cache_miss"),
        ("", "cache_hit"),
    ],
)
def test_few_products_are_kept(work: str, kept: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    environment["ONEDNN_VERBOSE"] = "profile_create"
    code = [sys.executable, "-c", PRODUCTS.format(work=work)]
    done = subprocess.run(code, capture_output=True, text=True, env=environment, check=True)
    created = [
        line
        for line in done.stdout.splitlines()
        if "cache_" in line and ("matmul" in line or "inner_product" in line)
    ]
    assert kept in created[-1]


def test_values_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "8")
    keep_few_products("serving")
    assert (os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"], os.environ["LRU_CACHE_CAPACITY"]) == ("7", "8")


def test_free_memory_can_be_returned_at_any_time() -> None:
    text = "kept"
    return_free_memory()
    assert text == "kept"

"""A run names the commit of lookboth's own checkout, and no other."""

import subprocess

import pytest

from lookboth.evaluation import provenance


@pytest.fixture
def checkout(tmp_path):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("init", "-q")
    git("add", "package/__init__.py")
    git("commit", "-qm", "first")
    return package


def test_commit_of_a_checkout_and_its_changes(checkout):
    commit = provenance.git_commit.__wrapped__(checkout)
    assert len(commit) == 40
    (checkout / "__init__.py").write_text("changed = 1\n")
    assert provenance.git_commit.__wrapped__(checkout) == f"{commit}+changes"


def test_a_package_installed_inside_a_foreign_checkout_has_no_commit(checkout):
    installed = checkout.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert provenance.git_commit.__wrapped__(installed) is None


def test_commit_is_none_without_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit.__wrapped__(checkout) is None

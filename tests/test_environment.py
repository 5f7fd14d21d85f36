"""The fingerprint of the machine, and what was checked out there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.environment import fingerprint

OF_BUILD_SERVERS = ("GITHUB_SHA", "CI_COMMIT_SHA")


def git(*arguments: str, cwd: Path) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    return subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in OF_BUILD_SERVERS:
        monkeypatch.delenv(name, raising=False)
    git("init", "-q", cwd=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=tmp_path)
    return tmp_path


def commit_seen_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    monkeypatch.chdir(folder)
    return dict(fingerprint()).get("commit")


def test_the_commit_is_the_one_checked_out_in_the_folder_or_above_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = repository / "a" / "b"
    inside.mkdir(parents=True)

    assert commit_seen_from(inside, monkeypatch) == git("rev-parse", "HEAD", cwd=repository)[:12]


def test_a_commit_is_found_in_packed_references(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("pack-refs", "--all", cwd=repository)

    assert commit_seen_from(repository, monkeypatch) == git("rev-parse", "HEAD", cwd=repository)[:12]


def test_a_worktree_has_its_own_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository / "other"
    git("worktree", "add", "-q", "-b", "next", str(other), cwd=repository)
    git("commit", "-q", "--allow-empty", "-m", "second", cwd=other)

    assert commit_seen_from(other, monkeypatch) == git("rev-parse", "HEAD", cwd=other)[:12]
    assert git("rev-parse", "HEAD", cwd=other) != git("rev-parse", "HEAD", cwd=repository)


def test_a_detached_head_is_a_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("checkout", "-q", "--detach", cwd=repository)

    assert commit_seen_from(repository, monkeypatch) == git("rev-parse", "HEAD", cwd=repository)[:12]


def test_what_the_build_server_says_comes_first(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567")

    assert commit_seen_from(repository, monkeypatch) == "0123456789ab"


def test_without_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_BUILD_SERVERS:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".git").write_text("gitdir: nowhere\n")

    assert commit_seen_from(tmp_path, monkeypatch) is None

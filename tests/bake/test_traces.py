"""What a build must not leave on an image, found wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from bake.traces import credentials, find_traces


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("index-url = https://ci:s3cret-token@mirror.invalid/simple", ("s3cret-token",)),
        ("https://ci:p%40ssword%21@mirror.invalid", ("p%40ssword%21", "p@ssword!")),
        ("//mirror.invalid/:_authToken=npm_abcdef123", ("npm_abcdef123",)),
        ('_auth = "YWxhZGRpbjpvcGVu"', ("YWxhZGRpbjpvcGVu",)),
        ("//mirror.invalid/:_authToken=${NPM_TOKEN}", ()),
        ("https://mirror.invalid/simple", ()),
        ("https://ghp_token12345@mirror.invalid/simple", ("ghp_token12345",)),
        ("machine mirror.invalid login ci password s3cret/word", ("s3cret/word",)),
        ("https://user:abc@mirror.invalid/", ()),
    ],
)
def test_credentials_of_package_settings(text: str, found: tuple[str, ...]) -> None:
    assert credentials([text]) == found


def test_a_trace_is_found_in_content_and_link_and_told_without_itself(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/lock.json").write_bytes(b"\0" * 5000 + b"tok-123456" + b"\0")
    (tmp_path / "srv/link").symlink_to("/run/tok-123456/x")
    (tmp_path / "srv/folder-link").symlink_to(tmp_path / "srv")
    (tmp_path / "srv/clean").write_text("tok-12345")
    (tmp_path / "srv/empty").touch()
    told = find_traces(tmp_path, {"tok-123456": "a credential"})
    assert sorted(told) == ["/srv/link: a credential", "/srv/lock.json: a credential"]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("nothing to see")
    assert find_traces(tmp_path, {"secret-word": "x"}) == []

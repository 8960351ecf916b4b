"""URLs, refs and paths of stack.toml: what may be given to git, and what is told about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from bake.source_values import is_ref, location
from tests.bake.stack_texts import HERE, mistake, parse, with_repo

URLS = [
    ("https://git.example.org/acme/shop.git", None),
    ("https://git.example.org:8443/acme/shop", None),
    ("ssh://git@git.example.org:2222/acme/shop.git", None),
    ("git@git.example.org:acme/shop.git", None),
    ("git.example.org:acme/shop.git", None),
    ("git@[::1]:acme/shop.git", None),
    ("file:///srv/git/shop.git", None),
    ("/srv/git/shop.git", None),
    ("../a b/shöp", None),
    ("./-odd:name", None),
    ("", "a URL or path of a git repository"),
    (" ../x", "without control characters or spaces around it"),
    ("../x\\n", "without control characters"),
    ("--upload-pack=touch /tmp/x", "git would take this for an option"),
    ("-oProxyCommand=x:y", "git would take this for an option"),
    ("ext::sh -c touch% /tmp/x", "git's helpers, such as ext::, can run commands"),
    ("fd::17", "git's helpers"),
    ("http://git.example.org/x", "nothing proves who answers"),
    ("git://git.example.org/x", "nothing proves who answers"),
    ("ftp://git.example.org/x", "a URL with https, ssh or file"),
    ("https://mira:s3cret@git.example.org/x", "without a credential"),
    ("https://s3cret@git.example.org/x", "without a credential"),
    ("http://mira:s3cret@git.example.org/x", "without a credential"),
    ("ssh://git:s3cret@git.example.org/x", "without a credential"),
    ("ssh://-oProxyCommand=x/y", "ssh://host/path"),
    ("git@-oProxyCommand=x:y", "git@host:path"),
    ("https://git.example.org/x?token=s3cret", "https://host/path"),
    ("https://git.example.org", "https://host/path"),
    ("file://host/x", "file:// and an absolute path"),
    ("host:-x", "git@host:path"),
]


@pytest.mark.parametrize(("url", "wrong"), URLS, ids=[case[0] for case in URLS])
def test_a_url_is_one_that_git_may_be_given_in_a_committed_file(url: str, wrong: str | None) -> None:
    text = with_repo(f'url = "{url}"')
    if wrong is None:
        assert parse(text).repos["web"].url == url
        return
    path, told, hint = mistake(text)
    assert path == "repos.web.url"
    assert wrong in told
    assert "s3cret" not in told + hint or "?token" in url


def test_a_relative_path_starts_from_the_directory_of_the_file() -> None:
    cases = {"../web": "/srv/web", "./a/../b": "/srv/acme/b", ".": "/srv/acme", "/x": "/x", "../../../..": "/"}
    assert {path: location(path, HERE) for path in cases} == cases
    assert parse(with_repo('url = "file:///srv/x"')).repos["web"].local_path == Path("/srv/x")
    assert parse(with_repo('url = "git@h:x"')).repos["web"].local_path is None


@pytest.mark.parametrize(
    ("line", "place", "what"),
    [
        ("", "url", "expected where the repository is, got nothing"),
        ('url = "../x"\nref = "--upload-pack=x"', "ref", "expected a branch, a tag or a commit"),
        (
            'url = "../x"\nref = "a\\nb"',
            "ref",
            'expected a branch, a tag or a commit of 40 hexadecimal digits, got "a\\nb"',
        ),
        (
            'url = "../x"\nsubdirectory = "../y"',
            "subdirectory",
            'expected a directory inside the repository, without ".."',
        ),
        ('url = "../x"\nsubdirectory = "/etc"', "subdirectory", "expected a directory inside the repository, got"),
        ('url = "../x"\nstatic = ".git"', "static", "expected a directory inside the repository"),
        ('url = "../x"\nbuild = ["make"]', "build", "expected text, got a list"),
        ('url = "../x"\nbranch = "main"', "branch", "unknown key"),
    ],
)
def test_a_mistake_in_a_repo_is_told_by_its_path(line: str, place: str, what: str) -> None:
    path, told, _ = mistake(with_repo(line))
    assert (path, told.startswith(what)) == (f"repos.web.{place}", True)


def test_paths_inside_a_repository_are_tidied() -> None:
    repo = parse(with_repo('url = "../x"\nsubdirectory = "./a//b/"\nstatic = "./"')).repos["web"]
    assert (repo.subdirectory, repo.static) == ("a/b", ".")


@pytest.mark.parametrize("ref", ["main", "v1.2.0", "feature/x", "refs/heads/a", "HEAD", "a" * 40, "ü", "x@y"])
def test_refs_as_people_have_them(ref: str) -> None:
    assert is_ref(ref)


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "a/-x",
        "a b",
        "a..b",
        "a.lock",
        "a/.b",
        "a~1",
        "a^",
        "a:b",
        "@",
        "@{u}",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        "x\x7f",
    ],
)
def test_refs_that_git_has_another_meaning_for(ref: str) -> None:
    assert not is_ref(ref)

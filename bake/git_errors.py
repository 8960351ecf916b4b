"""What git's failures mean to a person, and what to do about them. Pure: git's words in, a SourceError out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.errors import SourceError
from bake.fields import escaped, without_user
from bake.git import GitFailed


@dataclass(frozen=True)
class Explanation:
    """`pattern` in git's messages means `meaning`; `hint` may name {url}, {path} and {host}."""

    pattern: str
    meaning: str
    hint: str


EXPLANATIONS = (
    Explanation(
        "dubious ownership",
        "it belongs to another user, and git does not trust it",
        "git config --global --add safe.directory {path}",
    ),
    Explanation(
        "[Cc]ould not resolve host",
        "its host is not known here",
        "git ls-remote {url}    (is the address right? is there a network?)",
    ),
    Explanation(
        "Host key verification failed",
        "ssh does not know the host's key",
        "ssh {host}    once, and compare the key that it shows",
    ),
    Explanation(
        r"Permission denied \(|Too many authentication failures",
        "ssh has no key that this host accepts",
        "ssh-add -l    shows the keys at hand; then: ssh -T {host}",
    ),
    Explanation(
        "could not read (Username|Password)|Authentication failed|terminal prompts disabled|error: 40[13]",
        "it wants credentials, and git has none (or there is no such repository)",
        "git ls-remote {url}    once, with a credential helper set up (git help credentials)",
    ),
    Explanation(
        "[Rr]epository .*not found|error: 404",
        "there is no such repository, or it is not shown to you",
        "git ls-remote {url}",
    ),
    Explanation(
        "does not appear to be a git repository|not a git repository|does not exist",
        "there is no git repository",
        "git init {path}    and commit, or correct the url",
    ),
    Explanation(
        "(transport|protocol) '.*' not allowed",
        "git's configuration makes it a URL that is neither https, ssh nor a file",
        "git config --global --get-regexp '^url'",
    ),
    Explanation(
        "certificate|SSL|TLS",
        "its certificate is not trusted here",
        "git ls-remote {url}    (an authority of your own: git config --global http.sslCAInfo FILE)",
    ),
    Explanation(
        "Connection (refused|reset|timed out|closed)|Network is unreachable|[Ff]ailed to connect|No route to host"
        "|no end after|Operation too slow",
        "it does not answer",
        "git ls-remote {url}    (is there a network, a proxy?)",
    ),
    Explanation("No space left on device|Disk quota", "the disk is full", "df -h"),
    Explanation("Permission denied", "it may not be read", "ls -ld {path}"),
    Explanation(
        "mismatched algorithms|unknown object format|does not support algorithm",
        "its commits are SHA-256, which isn't supported",
        "give the URL of a repository with SHA-1 commits",
    ),
)


def explain(location: str, failed: GitFailed, *, where: str) -> SourceError:
    """What git's failure to fetch from `location` means. `where` is the repo's name."""
    for each in EXPLANATIONS:
        if re.search(each.pattern, failed.message):
            hint = each.hint.format(url=location, host=_host(location), path=location.removeprefix("file://"))
            return SourceError(f"{location}: {each.meaning}", where=where, hint=hint)
    return SourceError(f"{location}: {said(failed)}", where=where, hint=f"git ls-remote {location}")


def said(failed: GitFailed) -> str:
    """git's last words, safe to print: on one line, escaped, cut, without the user part of URLs."""
    lines = failed.message.splitlines()
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    text = " ".join(telling[-2:]) or "git failed without a word"
    return escaped(without_user(text)[:300]).replace('\\"', '"')


def _host(location: str) -> str:
    """What to give to ssh for a location: user and host."""
    found = re.match(r"ssh://([^/:]+)|([^/:]+):", location)
    return (found[1] or found[2]) if found else location

"""Parsers of what says where code comes from: URLs, refs, and paths inside a repository.

Nothing here may reach git as an option, run a command, or carry a credential into a committed file. Pure.
"""

from __future__ import annotations

import re
from pathlib import Path

from bake.fields import Refused, expected, quoted, show

_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_URL_PATH = r"/[A-Za-z0-9._~+%@,=/-]*"
_HTTPS = re.compile(rf"https://{_HOST}(:[0-9]{{1,5}})?{_URL_PATH}")
_SSH = re.compile(rf"ssh://({_USER}@)?{_HOST}(:[0-9]{{1,5}})?{_URL_PATH}")
_SCP = re.compile(rf"({_USER}@)?{_HOST}:(?!:)[A-Za-z0-9._~+%@,=/][A-Za-z0-9._~+%@,=/-]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_URL_EXAMPLE = '"https://github.com/acme/storefront.git"'


def url(value: object) -> str:
    """Where a repository is: https, ssh, git@host:path, file:///path or a path. As written, checked."""
    if not isinstance(value, str) or not value.strip():
        raise expected("a URL or path of a git repository", value, _URL_EXAMPLE)
    if not value.isprintable() or value != value.strip():
        raise expected("a URL without control characters or spaces around it", value, _URL_EXAMPLE)
    if value.startswith("-"):
        raise expected("a URL or path (git would take this for an option)", value, quoted(f"./{value}"))
    if re.match(r"[A-Za-z0-9+.-]+::", value):
        raise expected("a URL or path (git's helpers, such as ext::, can run commands)", value, _URL_EXAMPLE)
    scheme = _SCHEME.match(value)
    if scheme:
        return _with_scheme(value, scheme[1].lower())
    if _is_scp_like(value) and not _SCP.fullmatch(value):
        raise expected("git@host:path", value, '"git@github.com:acme/storefront.git"', _path_hint(value))
    return value


def _with_scheme(value: str, scheme: str) -> str:
    rest = value.split("://", 1)[1]
    user, at, after = rest.partition("/")[0].rpartition("@")
    bare = f"{after}/{rest.partition('/')[2]}"
    if at and (":" in user or scheme not in ("ssh",)):
        what = "expected a URL without a credential (this file is committed)"
        if scheme == "https":
            raise Refused(f"{what}, got {show(value)}", hint=f"url = {_clean(bare)}    with a git credential helper")
        raise Refused(f"{what}, got {show(value)}", hint=f"url = {_clean(f'git@{bare}', 'ssh')}    with an ssh key")
    if scheme in ("http", "git"):
        raise expected("https:// or ssh:// (nothing proves who answers on this one)", value, _clean(bare))
    if scheme == "file":
        if not rest.startswith("/"):
            raise expected("file:// and an absolute path", value, quoted(f"file:///{rest}"))
        return value
    pattern = {"https": _HTTPS, "ssh": _SSH}.get(scheme)
    if pattern is None:
        raise expected("a URL with https, ssh or file", value, _URL_EXAMPLE)
    if not pattern.fullmatch(value):
        raise expected(f"{scheme}://host/path", value, f'"{scheme}://github.com/acme/storefront.git"')
    return value


def _clean(rest: str, scheme: str = "https") -> str:
    """A URL to suggest, made of what stood after the scheme."""
    suggestion = f"{scheme}://{rest}"
    pattern = _HTTPS if scheme == "https" else _SSH
    return quoted(suggestion) if pattern.fullmatch(suggestion) else _URL_EXAMPLE


def _is_scp_like(value: str) -> bool:
    """As git decides: a colon before the first slash makes it host:path, not a path."""
    return ":" in value.partition("/")[0]


def _path_hint(value: str) -> str:
    return "" if "@" in value else f"url = {quoted('./' + value)}    if it is a path"


def location(url: str, directory: Path) -> str:
    """What git is given for `url`: a relative path is made absolute, from `directory`. No disk."""
    if _SCHEME.match(url) or _is_scp_like(url):
        return url
    parts: list[str] = []
    for part in (directory / url).parts:  # "..": by name, as a shell's cd does; a symlink in between is the user's own
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part != "..":
            parts.append(part)
    return str(Path(*parts))


def ref(value: object) -> str:
    """A branch, a tag, refs/heads/… or refs/tags/…, HEAD, or a whole commit (git-check-ref-format's rules)."""
    if not isinstance(value, str) or not is_ref(value):
        raise expected("a branch, a tag or a commit of 40 hexadecimal digits", value, '"main"')
    return value


def is_ref(text: str) -> bool:
    if not 1 <= len(text) <= 255 or text.startswith("-") or text.endswith((".", "/")) or text == "@":
        return False
    if any(c in ' ~^:?*[\\"' or not c.isprintable() for c in text) or ".." in text or "@{" in text:
        return False
    return all(part and not part.startswith((".", "-")) and not part.endswith(".lock") for part in text.split("/"))


def is_commit(text: str) -> bool:
    return _COMMIT.fullmatch(text) is not None


def inside(value: object) -> str:
    """A directory inside a repository, as `a/b`; "" for its top."""
    if not isinstance(value, str) or not value.isprintable() or "\\" in value or value.startswith(("/", "-", "~")):
        raise expected("a directory inside the repository", value, '"services/api"')
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if any(part == ".." or part.lower() == ".git" for part in parts):
        raise expected('a directory inside the repository, without ".."', value, '"services/api"')
    return "/".join(parts)

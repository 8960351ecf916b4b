"""What a build must not leave on an image, searched for in every file that it added.

``agent.seal`` knows the places where identities and logs lie; this knows the strings: the host's
credentials for its package mirrors, and the paths where its settings were mounted. A build that wrote
one of them anywhere (a lock file, a generated config, bytecode) fails.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

_USER_INFO = re.compile(r"://(?:[^/@\s:]*:)?([^/@\s:]+)@")
_APT_PASSWORD = re.compile(r"\bpassword\s+(\S+)")  # apt_auth.conf(5)
_NPM_SECRET = re.compile(r"(?m)^\s*\S*(?:_authToken|_auth|_password)\s*=\s*\"?([^\s\"]+)")
SHORTEST = 6
"""Characters that a credential has at least; a shorter string would be found by chance."""


def credentials(texts: Iterable[str]) -> tuple[str, ...]:
    """Passwords and tokens in package settings: of URLs (as written and decoded), and of npm's keys."""
    found = set()
    for text in texts:
        for match in _USER_INFO.finditer(text):
            found |= {match[1], unquote(match[1])}
        found |= {match[1] for match in _APT_PASSWORD.finditer(text)}
        found |= {match[1] for match in _NPM_SECRET.finditer(text) if not match[1].startswith("${")}
    return tuple(sorted(word for word in found if len(word) >= SHORTEST))


def find_traces(root: Path, strings: Mapping[str, str]) -> list[str]:
    """Where the bytes of ``strings`` (string to what it is) lie below ``root``; a line each, without the string.

    Names and targets of links are looked at too. Symlinks are not followed.
    """
    wanted = {text.encode(): what for text, what in strings.items()}
    return [f"/{path.relative_to(root)}: {what}" for path in _files(root) for what in _holds(path, wanted)]


def _holds(path: Path, wanted: Mapping[bytes, str]) -> Iterator[str]:
    if path.is_symlink():
        content = os.fsencode(path.readlink())
        yield from (what for text, what in wanted.items() if text in content)
    elif path.is_file() and path.stat().st_size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield from (what for text, what in wanted.items() if mapped.find(text) >= 0)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        at = Path(folder)
        yield from (at / name for name in names)
        yield from (at / name for name in folders if (at / name).is_symlink())

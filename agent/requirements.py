"""What a ``requirements.txt`` reads besides itself. Pure.

Format: pip.pypa.io/en/stable/reference/requirements-file-format.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Collection

from agent.errors import BuildError

_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(\S.*)")
_IN_PLACE = re.compile(r"(-e|--editable|-f|--find-links)[\s=]*")


def read_requirements(name: str, files: Collection[str], text: Callable[[str], str]) -> tuple[tuple[str, ...], bool]:
    """``name`` and the files that it includes, in order of reading; whether any line points into the repo's tree.

    Raises ``BuildError``: an included file is not among ``files``.
    """
    seen: list[str] = []
    waiting = [name]
    local = False
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.append(name)
        for line in _logical_lines(text(name)):
            option = _INCLUDE.match(line)
            if option is None:
                local = local or _is_local(line)
                continue
            target = option[2].strip().strip("'\"")
            if re.match(r"https?://", target) or "${" in target:
                continue
            included = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if included not in files:
                what = f"{name} includes {target}, which is not in the repo"
                raise BuildError(what, hint=f"git add {shlex.quote(included)}")
            waiting.append(included)
    return tuple(seen), local


def _logical_lines(text: str) -> list[str]:
    """pip's rules: a backslash joins lines, ``#`` at the start or after white space starts a comment."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s+)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _is_local(line: str) -> bool:
    """Whether a requirement line makes pip read the repo's own tree."""
    in_place = _IN_PLACE.match(line)
    if in_place is not None:
        target = line[in_place.end() :]
        return "://" not in target or target.startswith("file:")
    word = line.split(";")[0].split(" ")[0]
    if word.startswith(("file:", ".", "/")) or "@ file:" in line:
        return True
    return "://" not in line and ("/" in word or word.endswith((".whl", ".tar.gz", ".zip")))

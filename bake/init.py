"""`bakeboot init DIR…`: a first `stack.toml` from working directories with a Procfile and app.json.

Looks at each directory as it is now (what is committed or not), and writes nothing but the new file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.detect import STATIC, detect
from agent.errors import BuildError, Mistake, SourceError, StackError
from agent.heroku import parse_app_json, parse_procfile
from agent.names import NAME_RULE, is_name
from bake.fields import Refused, name_from, show
from bake.git import Git, GitFailed
from bake.init_text import Found, stack_text
from bake.reader import parse_stack
from bake.source_values import location, url
from bake.stack import DATASTORE_KINDS, Stack

_NOT_CODE = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__"})
_LONGEST_FILE = 64 * 1024**2


@dataclass(frozen=True)
class Written:
    """What was written, and what a person should know."""

    path: Path
    stack: Stack
    notices: tuple[str, ...] = field(default=())


def init_stack(directories: Sequence[Path], output: Path, git: Git, *, name: str | None = None) -> Written:
    """Writes `output` from `directories`. The stack's name is `name`, else that of the directory of `output`.

    Raises StackError when `output` exists, or a Procfile or app.json has mistakes (all of them); SourceError for a
    directory that isn't there, or when none of them holds a service.
    """
    if output.exists() or output.is_symlink():
        hint = "bakeboot init DIR… --output other.toml"
        raise StackError([Mistake(str(output), "there is one already, which stays as it is", hint)])
    if name is not None and not is_name(name):
        raise StackError([Mistake("--name", f"expected a name ({NAME_RULE}), got {show(name)}", name_from(name))])
    found = _look_at_all(directories, output.absolute().parent, git)
    if not any(each.processes or each.is_static for each in found):
        where = ", ".join(str(directory) for directory in directories)
        raise SourceError("there is no Procfile", where=where, hint="echo 'web: COMMAND' > Procfile")
    text = stack_text(name or output.absolute().parent.name, found)
    stack = parse_stack(text, output.absolute().parent, str(output))
    try:
        with output.open("x") as file:
            file.write(text)
    except OSError as error:
        reason = (error.strerror or "it can't be written").lower()
        raise StackError([Mistake(str(output), reason, f"ls -ld {output.absolute().parent}")]) from None
    return Written(output, stack, tuple(_notices(found)))


def _notices(found: Sequence[Found]) -> list[str]:
    unknown = [f'{each.name}: {each.not_recognized}: say build = "…"' for each in found if each.not_recognized]
    silent = [f"{each.name}: no Procfile, so no service" for each in found if not (each.processes or each.is_static)]
    return unknown + silent + [f"{each.name}: {remark}" for each in found for remark in each.remarks]


def _look_at_all(directories: Sequence[Path], start: Path, git: Git) -> list[Found]:
    """Looks at each directory; `start` is what paths in the file are relative to."""
    found: list[Found] = []
    mistakes: list[Mistake] = []
    for directory in directories:
        if not directory.is_dir():
            raise SourceError("there is no such directory", where=str(directory), hint="ls -d */")
        try:
            found.append(_look(directory.resolve(), start.resolve(), git))
        except StackError as error:
            mistakes += [_with_file(mistake, error.where) for mistake in error.mistakes]
    if mistakes:
        raise StackError(mistakes)
    return found


def _with_file(mistake: Mistake, where: str) -> Mistake:
    return Mistake(": ".join(part for part in (where, mistake.path) if part), mistake.expected, mistake.hint)


def _look(directory: Path, start: Path, git: Git) -> Found:
    source = _source(directory, start, git)
    files = _files(directory, git)
    procfile, app_json = directory / "Procfile", directory / "app.json"
    processes = parse_procfile(_text(procfile), where=str(procfile)) if procfile.is_file() else {}
    app = parse_app_json(_text(app_json) if app_json.is_file() else "{}", where=str(app_json))
    not_recognized, is_static = "", False
    try:
        detected = detect(files, lambda path: _bytes(directory / path), where=source.name)
        is_static = not processes and (STATIC in detected.parts or detected.static is not None)
    except BuildError as error:
        not_recognized = error.what
    return replace(
        source,
        processes=tuple(process for process in processes if process != "release"),
        is_static=is_static,
        datastores=tuple(kind for kind in DATASTORE_KINDS if kind in app.datastores),
        env=app.env,
        generated=app.generated,
        required=app.required,
        unknown_addons=app.unknown_addons,
        not_recognized=not_recognized,
    )


def _source(directory: Path, start: Path, git: Git) -> Found:
    """Where the directory comes from: its repository's origin if a stack file may name that, else its path."""
    top = _ask(git, directory, "rev-parse", "--show-toplevel")
    if top is None:
        unreadable = (directory / ".git").exists()
        remark = (
            "git can't read it: git status tells why" if unreadable else "no git repository yet: git init, and commit"
        )
        return Found(directory.name, _path_url(directory, start), remarks=(remark,))
    root = Path(top)
    subdirectory = directory.relative_to(root).as_posix() if directory != root else ""
    origin = _ask(git, directory, "config", "--get", "remote.origin.url")
    address, remarks = _origin_url(origin, root, start) if origin else (_path_url(root, start), ())
    name = directory.name if subdirectory or not origin else origin.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return Found(name.removesuffix(".git"), address, subdirectory, remarks=remarks)


def _origin_url(origin: str, root: Path, start: Path) -> tuple[str, tuple[str, ...]]:
    """The origin's URL as a stack file may hold it, and what to say if it may not."""
    try:
        checked = url(origin)
    except Refused as refused:
        return _path_url(root, start), (f"its origin can't stand here: {refused.what}",)
    where = location(checked, root)
    return (_path_url(Path(where), start) if where.startswith("/") else checked), ()


def _path_url(path: Path, start: Path) -> str:
    """`path` as seen from `start`, in a form that can't be taken for an option or a host."""
    relative = os.path.relpath(path, start)
    if not relative.isprintable() or relative != relative.strip():
        raise SourceError("its path has characters that a stack file can't hold", where=str(path), hint="rename it")
    return relative if relative.startswith("..") else f"./{relative}" if relative != "." else "."


def _ask(git: Git, directory: Path, *arguments: str) -> str | None:
    try:
        return git.remote(None, "-C", str(directory), *arguments).decode(errors="surrogateescape").rstrip("\n") or None
    except GitFailed:
        return None


def _files(directory: Path, git: Git) -> list[str]:
    """Every file that is committed or might be, relative to `directory`."""
    try:
        listed = git.remote(None, "-C", str(directory), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except GitFailed:
        return _walk(directory)
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    return sorted(name for name in names if (directory / name).is_file())


def _walk(directory: Path) -> list[str]:
    files: list[str] = []
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(set(directories) - _NOT_CODE)
        files += [os.path.relpath(Path(parent, name), directory) for name in names]
    return sorted(files)


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        mistake = Mistake(str(path), "this is not UTF-8 text", "save the file with the encoding UTF-8")
        raise StackError([mistake]) from None


def _bytes(path: Path) -> bytes:
    """Raises SourceError for a file that can't be read or is far too large."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE + 1)
    except OSError as error:
        reason = (error.strerror or "it can't be read").lower()
        raise SourceError(reason, where=str(path), hint=f"ls -l {path}") from None
    if len(content) > _LONGEST_FILE:
        raise SourceError(f"more than {_LONGEST_FILE} bytes", where=str(path), hint=f"ls -l {path}")
    return content

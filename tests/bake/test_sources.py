"""What repos say of themselves, read from a mirror that is a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from agent.errors import SourceError, StackError
from bake.lock import Pin
from bake.mirror import Mirror
from bake.sources import Source, read_sources
from tests.bake.stack_texts import parse

COMMIT = "1" * 40
PYTHON = {"requirements.txt": "flask\n"}
NODE = {"package.json": '{"scripts": {"start": "node x"}}', "package-lock.json": '{"lockfileVersion": 3}'}


class FakeMirror:
    """A commit whose files are these; ``lost`` are listed and can't be read."""

    def __init__(self, files: Mapping[str, str], subdirectory: str = "", lost: tuple[str, ...] = ()) -> None:
        self.files = files
        self.top = f"{subdirectory}/" if subdirectory else ""
        self.lost = lost

    def listing(self, commit: str, subdirectory: str) -> Mapping[str, object]:
        assert (commit, f"{subdirectory}/" if subdirectory else "") == (COMMIT, self.top)
        return dict.fromkeys(self.files)

    def read(self, commit: str, path: str) -> bytes | None:
        assert path.startswith(self.top)
        name = path.removeprefix(self.top)
        return None if name in self.lost else self.files[name].encode()

    def tree(self, commit: str, subdirectory: str) -> str:
        return "2" * 40

    def subject(self, commit: str) -> str:
        return "first line"

    def time(self, commit: str) -> int:
        return 1795435200


def read(*mirrors: FakeMirror, stack_lines: str = "") -> dict[str, Source]:
    names = ("web", "api")[: len(mirrors)]
    repos = "".join(f'[repos.{name}]\nurl = "https://git.example.org/{name}"\n{stack_lines}\n' for name in names)
    services = "".join(f'[services.{name}]\nhealth = {{ path = "/" }}\n' for name in names)
    stack = parse(f'[stack]\nname = "shop"\n{repos}{services}')
    pins = {name: Pin(f"https://git.example.org/{name}", "main", COMMIT) for name in names}
    return read_sources(stack, pins, {name: cast("Mirror", one) for name, one in zip(names, mirrors, strict=True)})


def test_a_repo_is_read_at_its_commit() -> None:
    files = {**PYTHON, "Procfile": "web: gunicorn app\nrelease: migrate\n", "app.json": '{"env": {"A": "1"}}'}
    source = read(FakeMirror(files))["web"]
    assert (source.commit, source.tree, source.subject, source.time) == (
        *(COMMIT, "2" * 40),
        *("first line", 1795435200),
    )
    assert (source.detected.build, source.release) == ("python", "migrate")
    assert source.processes == {"web": "gunicorn app", "release": "migrate"}
    assert source.app.env == {"A": "1"}


def test_a_subdirectory_is_the_whole_repo() -> None:
    mirror = FakeMirror({**PYTHON, "Procfile": "web: x\n"}, "services/web")
    assert read(mirror, stack_lines='subdirectory = "services/web"')["web"].processes == {"web": "x"}


@pytest.mark.parametrize(
    ("files", "processes"),
    [
        ({**NODE}, {"web": "npm start"}),
        ({**NODE, "Procfile": "worker: node w\n"}, {"worker": "node w", "web": "npm start"}),
        ({**NODE, "Procfile": "web: node own\n"}, {"web": "node own"}),
        ({**NODE, "package.json": '{"scripts": {}}'}, {}),
        ({**NODE, "package.json": '{"scripts": null}'}, {}),
        (PYTHON, {}),
    ],
    ids=["start", "start beside a worker", "its own", "no start", "no scripts", "no procfile"],
)
def test_a_node_repo_with_a_start_script_has_a_web_process(files: dict[str, str], processes: dict[str, str]) -> None:
    assert read(FakeMirror(files))["web"].processes == processes


def test_the_mistakes_of_all_repos_come_at_once() -> None:
    with pytest.raises(StackError) as told:
        read(FakeMirror({**PYTHON, "Procfile": "nonsense\n"}), FakeMirror({"main.c": ""}))
    paths = [mistake.path for mistake in told.value.mistakes]
    assert paths[0].startswith("repos.web: Procfile: ")
    assert paths[1] == "repos.api"
    assert all(mistake.hint for mistake in told.value.mistakes)


def test_a_file_that_is_listed_and_lost_is_an_error_of_the_source() -> None:
    with pytest.raises(SourceError, match=r"requirements\.txt is not in commit 111111111111"):
        read(FakeMirror(PYTHON, lost=("requirements.txt",)))

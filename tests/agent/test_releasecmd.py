from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.command import Outcome
from agent.environment import Checkout
from agent.errors import ReleaseCommandError
from agent.image import ImageManifest, Repo, Service
from agent.releasecmd import ReleaseRecords, release_service, run_all
from tests.agent.test_image import GOLDEN

IMAGE = ImageManifest.read(str(GOLDEN))
COMMIT = "a" * 40


class Runs:
    """Stands for the shell: notes what it was given, answers with ``outcome``."""

    def __init__(self, status: int | None = 0, lines: tuple[str, ...] = ()) -> None:
        self.outcome = Outcome(status=status, lines=lines)
        self.given: list[tuple[str, str]] = []

    def __call__(self, line: str, service: Service) -> Outcome:
        self.given.append((line, service.name))
        return self.outcome


def releases(folder: Path) -> ReleaseRecords:
    return ReleaseRecords(str(folder / "releases.json"), lambda: 0.0)


def go(folder: Path, runs: Runs, commit: str = COMMIT, image: ImageManifest = IMAGE) -> None:
    run_all(image, {name: Checkout(commit=commit) for name in image.repos}, releases(folder), runs)


def record(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "releases.json").read_text())["storefront"][COMMIT]
    return found


def test_it_runs_once_for_a_commit(tmp_path: Path) -> None:
    runs = Runs(lines=("migrated",))
    go(tmp_path, runs)
    go(tmp_path, runs)
    assert runs.given == [("python migrate.py", "storefront")]
    assert record(tmp_path) == {"state": "done", "since": "1970-01-01T00:00:00Z", "status": 0, "lines": ["migrated"]}


def test_another_commit_runs_its_own(tmp_path: Path) -> None:
    runs = Runs()
    go(tmp_path, runs)
    go(tmp_path, runs, commit="b" * 40)
    assert len(runs.given) == 2


def test_it_is_running_in_the_record_while_it_runs(tmp_path: Path) -> None:
    seen = []

    class Looks(Runs):
        def __call__(self, line: str, service: Service) -> Outcome:
            seen.append(record(tmp_path)["state"])
            return super().__call__(line, service)

    go(tmp_path, Looks())
    assert seen == ["running"]


@pytest.mark.parametrize(
    ("status", "told"), [(3, "failed with exit status 3"), (None, "did not end within 60 minutes")], ids=str
)
def test_a_failed_one_fails_the_boot_and_every_later_boot(tmp_path: Path, status: int | None, told: str) -> None:
    runs = Runs(status=status, lines=tuple(f"line {number}" for number in range(20)))
    for _ in range(3):
        with pytest.raises(ReleaseCommandError) as caught:
            go(tmp_path, runs)
        assert told in caught.value.what
        assert "line 19" in caught.value.what
        assert (caught.value.where, caught.value.hint) == ("storefront", "agent release retry storefront")
    assert len(runs.given) == 1
    assert record(tmp_path)["state"] == "failed"


def test_one_that_was_cut_off_is_not_run_again(tmp_path: Path) -> None:
    releases(tmp_path).put("storefront", COMMIT, {"state": "running"})
    runs = Runs()
    with pytest.raises(ReleaseCommandError, match="was cut off: it began at 1970-01-01T00:00:00Z"):
        go(tmp_path, runs)
    assert runs.given == []


def test_a_forgotten_one_runs_again(tmp_path: Path) -> None:
    with pytest.raises(ReleaseCommandError):
        go(tmp_path, Runs(status=1))
    releases(tmp_path).forget("storefront", COMMIT)
    go(tmp_path, Runs())
    assert record(tmp_path)["state"] == "done"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"storefront": 1}', f'{{"storefront": {{"{COMMIT}": {{"state": "?"}}}}}}']
)
def test_a_record_that_can_not_be_read_stops_the_boot(tmp_path: Path, text: str) -> None:
    (tmp_path / "releases.json").write_text(text)
    runs = Runs()
    with pytest.raises(ReleaseCommandError, match="the record can't be read"):
        go(tmp_path, runs)
    assert runs.given == []


def test_it_runs_as_the_repo_s_web_service_else_its_first() -> None:
    assert getattr(release_service(IMAGE.repos["storefront"], IMAGE), "name", None) == "storefront"
    without = ImageManifest(
        **{f: getattr(IMAGE, f) for f in IMAGE.__fields__}
        | {"services": {n: s for n, s in IMAGE.services.items() if n != "storefront"}}
    )
    assert getattr(release_service(IMAGE.repos["storefront"], without), "name", None) == "orders-worker"


def test_a_repo_without_a_service_runs_none(tmp_path: Path) -> None:
    old = IMAGE.repos["storefront"]
    alone = Repo(**{field: getattr(old, field) for field in old.__fields__} | {"name": "alone"})
    image = ImageManifest(**{f: getattr(IMAGE, f) for f in IMAGE.__fields__} | {"repos": {"alone": alone}})
    runs = Runs()
    go(tmp_path, runs, image=image)
    assert runs.given == []

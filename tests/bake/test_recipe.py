"""What a bake locks, and its end: an image is verified, or it is kept as failed with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import MachineError, StackError, VerifyError
from bake.images import Image, ImageStore
from bake.lock import read_lock
from bake.recipe import BakeOrder, _fetch, judge
from bake.stack import Stack
from region.errors import RegionError
from tests.bake.planning import a_home, an_image
from tests.bake.repositories import Repository, repo
from tests.bake.test_verify import Mute


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(a_home(tmp_path))


def judged(store: ImageStore, error: BaseException | None) -> Image:
    def verify() -> None:
        if error is not None:
            raise error

    return judge(store, an_image(store, [], "built"), verify)


def test_an_image_that_answered_is_verified(store: ImageStore) -> None:
    assert judged(store, None).state == "verified"
    assert store.find("latest").state == "verified"


@pytest.mark.parametrize(
    ("error", "where", "reason"),
    [
        (
            VerifyError("its specs failed", where="production jobs"),
            "shop-2026-11-23.1: production jobs",
            "production jobs: its specs failed",
        ),
        (MachineError("not ready"), "shop-2026-11-23.1", "not ready"),
        (RegionError("ended", where="m"), "shop-2026-11-23.1: m", "m: ended"),
    ],
)
def test_one_that_did_not_is_kept_as_failed_with_the_reason(
    store: ImageStore, error: Exception, where: str, reason: str
) -> None:
    with pytest.raises(VerifyError) as told:
        judged(store, error)
    assert told.value.where == where
    assert told.value.hint.startswith("bakeboot boot shop-2026-11-23.1 --mode review --shell")
    (image,) = store.all()
    assert (image.state, image.reason) == ("failed", reason)


def test_one_whose_verification_was_broken_off_is_failed_too(store: ImageStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        judged(store, KeyboardInterrupt())
    (image,) = store.all()
    assert (image.state, image.reason) == ("failed", "its verification was broken off (KeyboardInterrupt)")


@pytest.mark.subprocess
def test_every_pin_moves_when_all_were_asked_for_and_no_word_stands_for_all(tmp_path: Path) -> None:
    home, stack_file = a_home(tmp_path), tmp_path / "stack.toml"
    origins = {name: Repository(tmp_path / name, {"a": "1"}) for name in ("shop", "api")}
    stack = Stack("company", tmp_path, repos={name: repo(one.path, name=name) for name, one in origins.items()})

    def pins(order: BakeOrder) -> dict[str, str]:
        lock, _ = _fetch(home, stack, order, Mute())
        assert lock == read_lock(tmp_path / "stack.lock")
        return {name: pin.commit for name, pin in lock.repos.items()}

    before = pins(BakeOrder(stack_file))
    after = {name: origin.commit({"a": "2"}) for name, origin in origins.items()}
    assert pins(BakeOrder(stack_file)) == before
    with pytest.raises(StackError, match="expected the name of a repo"):
        pins(BakeOrder(stack_file, update=("*",)))
    assert pins(BakeOrder(stack_file)) == before
    assert pins(BakeOrder(stack_file, update_all=True)) == after

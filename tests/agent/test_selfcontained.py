from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from agent.errors import ConfigError, UnitError
from agent.image import ImageManifest
from agent.masking import masked, secrets_of
from agent.selfcontained import make_given, wait_active
from agent.state import Places
from agent.systemd import Systemd
from tests.agent.test_image import GOLDEN
from tests.agent.test_state import places as make_places

IMAGE = ImageManifest.read(str(GOLDEN))
INSTANCE = "i-0123456789abcdef0"


def machine(root: Path, instance: str = INSTANCE) -> Places:
    places = make_places(root)
    Path(places.instance(instance)).mkdir(parents=True)
    return places


def test_secrets_are_random_and_generated_ones_are_shared_by_a_repo(tmp_path: Path) -> None:
    given = make_given(machine(tmp_path), IMAGE, INSTANCE)
    assert list(given.generated) == ["storefront"]
    assert len(given.generated["storefront"]["SECRET_KEY"]) == 64
    assert given.datastores["storefront"]["db"].startswith("postgres://bb-storefront:")


def test_a_second_run_in_one_boot_gives_the_same(tmp_path: Path) -> None:
    places = machine(tmp_path)
    assert make_given(places, IMAGE, INSTANCE) == make_given(places, IMAGE, INSTANCE)


def test_a_reboot_keeps_generated_secrets_and_makes_new_passwords(tmp_path: Path) -> None:
    places = machine(tmp_path)
    first = make_given(places, IMAGE, INSTANCE)
    Path(places.passwords).unlink()  # /run is a tmpfs
    second = make_given(places, IMAGE, INSTANCE)
    assert second.generated == first.generated
    assert second.datastores != first.datastores


def test_another_instance_has_generated_secrets_of_its_own(tmp_path: Path) -> None:
    places = machine(tmp_path)
    other = "i-0fedcba9876543210"
    Path(places.instance(other)).mkdir()
    assert make_given(places, IMAGE, INSTANCE).generated != make_given(places, IMAGE, other).generated


def test_what_is_kept_is_for_root_alone(tmp_path: Path) -> None:
    places = machine(tmp_path)
    make_given(places, IMAGE, INSTANCE)
    for path in (places.passwords, f"{places.instance(INSTANCE)}/generated.json"):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_kept_secrets_that_can_not_be_read_are_told(tmp_path: Path) -> None:
    places = machine(tmp_path)
    Path(places.passwords).write_text("{")
    with pytest.raises(ConfigError, match="can't be read"):
        make_given(places, IMAGE, INSTANCE)


class Units:
    """Units that come up by and by: what ``systemctl show`` says, one answer after the other."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.now = 0.0

    def __call__(self, arguments: list[str]) -> tuple[int, str]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return (
            0,
            f"Id=x.service\nLoadState=loaded\nActiveState={state}\nSubState=x\nResult=exit-code\nExecMainStatus=1\n",
        )

    def wait(self) -> None:
        wait_active(["x.service"], systemd=Systemd(self), monotonic=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_datastores_are_waited_for_until_they_are_active() -> None:
    units = Units("inactive", "activating", "activating", "active")
    units.wait()
    assert units.now == pytest.approx(0.15)


@pytest.mark.parametrize("states", [("activating", "failed"), ("activating",)], ids=["failed", "never"])
def test_one_that_fails_or_never_comes_is_told(states: tuple[str, ...]) -> None:
    units = Units(*states)
    with pytest.raises(UnitError, match=r"is (failed|activating) \(x, exit-code 1\)"):
        units.wait()
    assert units.now < 151


def test_what_came_from_elsewhere_than_the_image_is_a_secret() -> None:
    service = IMAGE.services["storefront"]
    variables = {
        "LOG_LEVEL": "information",
        "PATH": "/usr/bin:/bin",
        "BAKEBOOT_STACK": "shop-shop-shop",
        "STRIPE_KEY": "sk_live_1234",
        "SHORT": "yes",
        "DATABASE_URL": "postgres://u:hexhexhexhex@127.0.0.1/db",
    }
    assert secrets_of(service, variables) == {
        "sk_live_1234",
        "postgres://u:hexhexhexhex@127.0.0.1/db",
        "hexhexhexhex",
    }


def test_what_the_agent_sets_itself_is_no_secret() -> None:
    variables = {"NODE_ENV": "production", "PYTHONUNBUFFERED": "unbuffered"}
    assert secrets_of(IMAGE.services["storefront"], variables) == frozenset()


def test_each_line_of_a_secret_with_several_is_hidden() -> None:
    key = "-----BEGIN PRIVATE KEY-----\r\nMIIEvQIBADANBg\n\n==\n-----END PRIVATE KEY-----\n"
    secrets = secrets_of(IMAGE.services["storefront"], {"SIGNING_KEY": key})
    assert [masked(line, secrets) for line in key.splitlines()] == ["[hidden]", "[hidden]", "", "==", "[hidden]"]


def test_a_secret_is_hidden_wherever_it_stands_the_longest_first() -> None:
    text = "key=sk_live_1234 url=postgres://sk_live_1234@h"
    assert masked(text, frozenset({"sk_live_1234", "postgres://sk_live_1234@h"})) == "key=[hidden] url=[hidden]"
    assert json.dumps(masked("plain", frozenset())) == '"plain"'

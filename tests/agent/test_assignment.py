from __future__ import annotations

import pytest

from agent.assignment import Assignment, decide, lacking
from agent.errors import AssignmentError
from agent.image import ImageManifest
from tests.agent.test_image import GOLDEN

IMAGE = ImageManifest.read(str(GOLDEN))
ID = "i-0123456789abcdef0"


def tags(
    mode: str | None = None, service: str | None = None, release: str | None = None, stack: str | None = "shop"
) -> dict[str, str]:
    named = {"stack": stack, "mode": mode, "service": service, "release": release}
    return {f"bakeboot:{name}": value for name, value in named.items() if value is not None}


@pytest.mark.parametrize("mode", ["development", "test", "review"])
def test_a_self_contained_machine_runs_everything(mode: str) -> None:
    assignment = decide(tags(mode), IMAGE, instance_id=ID)
    assert assignment == Assignment(mode=mode)
    assert [service.name for service in assignment.services(IMAGE)] == list(IMAGE.services)
    assert [datastore.name for datastore in assignment.datastores(IMAGE)] == ["db", "queue"]


@pytest.mark.parametrize("mode", ["staging", "production"])
@pytest.mark.parametrize("service", ["storefront", "orders-worker", "nightly"])
def test_an_environment_s_machine_runs_one_service_and_no_datastore(mode: str, service: str) -> None:
    assignment = decide(tags(mode, service, "v007"), IMAGE, instance_id=ID)
    assert assignment == Assignment(mode=mode, service=service, release="v007")
    assert [service.name for service in assignment.services(IMAGE)] == [service]
    assert assignment.datastores(IMAGE) == ()


def test_a_build_machine_runs_nothing() -> None:
    assignment = decide(tags("bake"), IMAGE, instance_id=ID)
    assert (assignment.services(IMAGE), assignment.datastores(IMAGE)) == ((), ())


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({}, "bakeboot:stack", "missing; expected shop"),
        (tags("review", stack=None), "bakeboot:stack", "missing; expected shop"),
        (tags(), "bakeboot:mode", "missing; expected one of development, test, review, staging, production, bake"),
        (tags("production"), "bakeboot:service", "missing; expected one of storefront, orders-api, orders-worker"),
        (tags("review", stack="other"), "bakeboot:stack", "this is an image of the stack shop (shop-2026-11-23.1)"),
        (tags("review", stack="Shop"), "bakeboot:stack", "the tag says 'Shop'"),
        (tags("prod"), "bakeboot:mode", "got 'prod'"),
        (tags("Production", "storefront"), "bakeboot:mode", "got 'Production'"),
        (tags(""), "bakeboot:mode", "got ''"),
        (tags("review "), "bakeboot:mode", "got 'review '"),
        (tags("review\n"), "bakeboot:mode", "got 'review\\n'"),
        (tags("production", "shop"), "bakeboot:service", "has no service 'shop'; expected one of storefront"),
        (tags("production", ""), "bakeboot:service", "has no service ''"),
        (tags("production", "../storefront"), "bakeboot:service", "has no service '../storefront'"),
        (tags("production", "storefront.service"), "bakeboot:service", "has no service"),
        (tags("review", "storefront"), "bakeboot:service", "mode review runs every service, so it takes no such tag"),
        (tags("bake", "storefront"), "bakeboot:service", "mode bake starts nothing, so it takes no such tag"),
        (tags("review", release="v 7"), "bakeboot:release", "got 'v 7'"),
        (tags("review", release=""), "bakeboot:release", "got ''"),
        (tags("review\x1b[2J%n$(reboot)`é" + "x" * 300), "bakeboot:mode", "got 'review\\x1b[2J%n$(reboot)`\\xe9xxx"),
    ],
)
def test_what_is_no_assignment_is_refused_by_its_tag(given: dict[str, str], where: str, what: str) -> None:
    with pytest.raises(AssignmentError) as caught:
        decide(given, IMAGE, instance_id=ID)
    error = caught.value
    assert error.where == f"tag {where}"
    assert what in error.what
    assert str(error).replace("\n", "").isprintable()
    assert len(error.what) < 300
    assert error.hint.startswith("aws ec2 ")
    assert ID in error.hint
    assert "systemctl restart bakeboot-boot" in error.hint


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "bakeboot:stack"),
        (tags(), "bakeboot:mode"),
        (tags("review"), None),
        (tags("bake"), None),
        (tags("nonsense"), None),
        (tags("staging"), "bakeboot:service"),
        (tags("staging", "anything"), None),
    ],
)
def test_what_is_worth_waiting_for(given: dict[str, str], missing: str | None) -> None:
    assert lacking(given) == missing

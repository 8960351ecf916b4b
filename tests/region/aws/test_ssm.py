"""What config relies on: parameters read path by path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from region.aws import ssm
from region.aws.world import World

pytestmark = pytest.mark.network

PATH = "/bakeboot/shop/production"


@pytest.fixture
def store(world: World, client: Callable[..., Any]) -> Any:
    ssm.install(world)
    return client("ssm")


def put(store: Any, name: str, value: str = "x", **settings: Any) -> Any:
    return store.put_parameter(Name=f"{PATH}/{name}", Value=value, **{"Type": "SecureString", **settings})


@pytest.mark.aws("https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html")
def test_a_path_is_read_page_by_page_without_what_is_below(store: Any) -> None:
    names = [f"web/N{number:02}" for number in range(13)]
    for name in (*names, "web/deeper/X", "webby/Y", "Z"):
        put(store, name, name)
    first = store.get_parameters_by_path(Path=f"{PATH}/web", WithDecryption=True)
    assert len(first["Parameters"]) == 10
    second = store.get_parameters_by_path(Path=f"{PATH}/web", WithDecryption=True, NextToken=first["NextToken"])
    assert "NextToken" not in second
    read = {one["Name"]: one["Value"] for one in first["Parameters"] + second["Parameters"]}
    assert read == {f"{PATH}/{name}": name for name in names}
    assert len(store.get_parameters_by_path(Path=f"{PATH}/web", Recursive=True, MaxResults=3)["Parameters"]) == 3
    assert store.get_parameters_by_path(Path=f"{PATH}/nothing")["Parameters"] == []


def test_what_is_secret_is_told_decrypted_only_when_asked(store: Any) -> None:
    put(store, "SECRET", "open sesame")
    plain = store.get_parameters_by_path(Path=PATH)["Parameters"][0]
    assert plain["Value"] != "open sesame"
    assert plain["Type"] == "SecureString"
    assert store.get_parameters_by_path(Path=PATH, WithDecryption=True)["Parameters"][0]["Value"] == "open sesame"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"MaxResults": 11}, "ValidationException"),
        ({"NextToken": "none of its own"}, "InvalidNextToken"),
    ],
)
def test_a_page_that_makes_no_sense_is_refused(store: Any, settings: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError, match=code):
        store.get_parameters_by_path(Path=PATH, **settings)


@pytest.mark.aws(
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
)
def test_a_value_has_the_length_that_its_tier_allows(store: Any) -> None:
    put(store, "A", "x" * 4096)
    with pytest.raises(ClientError, match=r"ValidationException.*Standard tier parameters .* 4096 characters"):
        put(store, "B", "x" * 4097)
    assert put(store, "B", "x" * 4097, Tier="Intelligent-Tiering")["Tier"] == "Advanced"
    with pytest.raises(ClientError, match="8192 characters"):
        put(store, "C", "x" * 8193, Tier="Advanced")


def test_a_parameter_is_overwritten_only_when_told(store: Any) -> None:
    put(store, "A", "1")
    with pytest.raises(store.exceptions.ParameterAlreadyExists):
        put(store, "A", "2")
    assert put(store, "A", "2", Overwrite=True)["Version"] == 2

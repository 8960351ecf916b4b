"""The API's server answers any AWS client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.network


def test_a_parameter_that_was_put_is_read_back(client: Callable[..., Any]) -> None:
    ssm = client("ssm")
    ssm.put_parameter(Name="/bakeboot/shop/production/_all/COLOUR", Value="red", Type="SecureString")
    answer = ssm.get_parameter(Name="/bakeboot/shop/production/_all/COLOUR", WithDecryption=True)
    assert answer["Parameter"]["Value"] == "red"

from __future__ import annotations

from pathlib import Path

import pytest

from agent.environment import Checkout, Config
from agent.errors import ConfigError, ImageError
from agent.instance import read_checkouts, read_config
from agent.state import Places


def checkout(root: Path, text: str) -> Places:
    folder = root / "srv/bakeboot/shop/current/.bakeboot"
    folder.mkdir(parents=True)
    (folder / "checkout.json").write_text(text)
    return Places.under(str(root))


def test_a_checkout_says_its_commit_its_path_and_its_runtimes(tmp_path: Path) -> None:
    places = checkout(tmp_path, '{"commit": "abc", "path": [".venv/bin"], "python": "3.11", "node": null, "x": 1}')
    assert read_checkouts(places, ["shop"]) == {"shop": Checkout(commit="abc", path=(".venv/bin",), python=True)}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"commit": 1}', '{"commit": "a", "path": "x"}', '{"commit": "a", "path": [1]}']
)
def test_a_checkout_that_can_not_be_read_is_told(tmp_path: Path, text: str) -> None:
    places = checkout(tmp_path, text)
    with pytest.raises(ImageError) as caught:
        read_checkouts(places, ["shop"])
    assert caught.value.where.endswith("checkout.json")


def test_no_checkout_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no checkout is current"):
        read_checkouts(Places.under(str(tmp_path)), ["shop"])


def config(root: Path, **files: bytes) -> Places:
    folder = root / "run/bakeboot/config.d"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.env").write_bytes(content)
    return Places.under(str(root))


def test_config_is_read_for_all_and_for_each(tmp_path: Path) -> None:
    places = config(tmp_path, _all=b"A=1\n", web=b'A="2\n3"\n', other=b"B=1\n")
    found = read_config(places, ["web", "worker"])
    assert found == Config(everyone={"A": "1"}, services={"web": {"A": "2\n3"}, "worker": {}})
    assert (found.of("web"), found.of("worker")) == ({"A": "2\n3"}, {"A": "1"})


def test_no_config_is_no_error(tmp_path: Path) -> None:
    assert read_config(Places.under(str(tmp_path)), ["web"]).of("web") == {}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"just words", b'A="x'])
def test_a_config_file_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(config(tmp_path, _all=content), [])
    assert "config.d/_all.env" in caught.value.where

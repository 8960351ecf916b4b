from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ImageError
from agent.image import ImageManifest

GOLDEN = Path(__file__).parent / "golden" / "image-v1.json"


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return loaded


def changed(path: str, value: object) -> str:
    """The golden file's text with the value at ``path`` replaced; ``...`` removes it."""
    whole = document()
    at = whole
    *parents, last = path.split(".")
    for key in parents:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return json.dumps(whole)


def test_version_1_is_read() -> None:
    image = ImageManifest.read(str(GOLDEN))
    assert (image.stack, image.name, image.parent, image.boot.tags_wait) == ("shop", "shop-2026-11-23.1", None, 60.0)
    assert list(image.repos) == ["storefront", "orders-api", "www"]
    assert image.repos["storefront"].release == "python migrate.py"
    storefront = image.services["storefront"]
    assert (storefront.name, storefront.port, storefront.health.path) == ("storefront", 8000, "/healthz")
    assert (storefront.generated, storefront.required) == (("SECRET_KEY",), ("STRIPE_KEY",))
    assert (storefront.calls, storefront.needs) == (("orders-api",), ("db", "queue"))
    assert image.services["nightly"].port is None
    assert image.datastores["queue"].shared
    assert image.packages.python == {"storefront": {"flask": "3.0.0"}}


def test_what_is_rendered_is_the_golden_file_byte_for_byte() -> None:
    assert ImageManifest.read(str(GOLDEN)).render() == GOLDEN.read_text()


def test_unknown_keys_are_ignored_everywhere() -> None:
    whole = document() | {"later": 1}
    whole["services"]["storefront"]["later"] = {"x": 2}
    whole["boot"]["later"] = None
    assert ImageManifest.parse(json.dumps(whole)) == ImageManifest.read(str(GOLDEN))


def paths(value: object, path: str = "") -> list[str]:
    """Every key of the golden file whose loss must be told; the free keys of mappings are not."""
    free = ("env", "apt", "packages.python.", "packages.node.")
    if not isinstance(value, dict) or any(part in path for part in free):
        return []
    found = []
    for key, inner in value.items():
        here = f"{path}.{key}" if path else key
        if path not in ("repos", "services", "datastores", "packages.python", "packages.node"):
            found.append(here)
        found += paths(inner, here)
    return found


def test_every_key_is_missed_by_its_path() -> None:
    for path in paths(document()):
        with pytest.raises(ImageError) as caught:
            ImageManifest.parse(changed(path, ...), where="here.json")
        assert caught.value.where == "here.json"
        assert caught.value.what.startswith(f"{path}: "), path


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("version", 2, "expected 1, the one version that this toolkit reads, got 2"),
        ("version", True, "expected a whole number"),
        ("stack", "No Name", "expected a name"),
        ("time", 5, "expected a text, got 5"),
        ("boot.tags_wait", "60", 'expected a number of seconds from 0 to 86400, got "60"'),
        ("boot.tags_wait", -1, "expected a number of seconds"),
        ("boot.tags_wait", True, "expected a number of seconds"),
        ("repos", [], "expected an object, got []"),
        ("repos.storefront.commit", "abc", "expected 40 hexadecimal digits"),
        ("repos.storefront.release", 1, "expected a text, got 1"),
        ("services.storefront.kind", "cron", "expected one of web, worker, clock"),
        ("services.storefront.port", 0, "expected a whole number from 1 to 65535, got 0"),
        ("services.storefront.port", 80.0, "expected a whole number"),
        ("services.storefront.unit", "sshd.service", 'expected "bakeboot-svc-storefront.service"'),
        ("services.storefront.health.status", 99, "expected a whole number from 100 to 599"),
        ("services.storefront.health.path", "healthz", "expected an absolute URL path"),
        ("services.storefront.health.path", "/a b", "expected an absolute URL path"),
        ("services.storefront.health.path", "/a\r\nX: y", "expected an absolute URL path"),
        ("services.storefront.env", {"A": 1}, "services.storefront.env.A: expected a text"),
        ("services.storefront.calls", "orders-api", "expected a list of texts"),
        ("datastores.db.kind", "mysql", "expected one of postgresql, redis"),
        ("datastores.db.shared", 0, "expected true or false"),
        ("datastores.db.unit", "-.mount", 'expected "bakeboot-data-db.service"'),
    ],
)
def test_a_wrong_value_is_told_by_its_path(path: str, value: object, told: str) -> None:
    with pytest.raises(ImageError) as caught:
        ImageManifest.parse(changed(path, value))
    assert caught.value.what.startswith(path)
    assert told in caught.value.what


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("services.storefront.repo", "gone", "services.storefront.repo: no repo named 'gone'"),
        ("services.storefront.calls", ["gone"], "services.storefront.calls: no 'gone' on this image"),
        ("services.storefront.needs", ["gone"], "services.storefront.needs: no 'gone' on this image"),
        ("services.storefront.databases_of", "gone", "services.storefront.databases_of: no 'gone' on this image"),
        ("services.storefront.port", None, "services.storefront: expected a port and a health path"),
    ],
)
def test_what_refers_to_nothing_is_told(path: str, value: object, told: str) -> None:
    with pytest.raises(ImageError) as caught:
        ImageManifest.parse(changed(path, value))
    assert told in caught.value.what


def test_a_service_and_a_datastore_can_not_share_a_directory() -> None:
    whole = document()
    whole["datastores"]["www"] = whole["datastores"]["db"] | {"unit": "bakeboot-data-www.service"}
    with pytest.raises(ImageError, match="a datastore has that name too"):
        ImageManifest.parse(json.dumps(whole))


def test_a_name_that_is_none_is_told() -> None:
    whole = document()
    whole["services"]["../../etc"] = whole["services"]["www"]
    with pytest.raises(ImageError, match="is no name"):
        ImageManifest.parse(json.dumps(whole))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '"x"', "{}"])
def test_what_is_no_manifest_is_an_image_error(text: str) -> None:
    with pytest.raises(ImageError):
        ImageManifest.parse(text)


def test_a_file_that_is_not_there_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="can't be read"):
        ImageManifest.read(str(tmp_path / "image.json"))

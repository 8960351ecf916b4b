"""The image that the tests of a region start: the base under `web.service` (the folder `web` beside this file)."""

from __future__ import annotations

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from bake.home import Home
from bake.images import Image, ImageStore, ami_id
from bake.layers import key_of
from tests.bake.planning import manifest

WEB = Path(__file__).with_name("web")


def web_image(home: Home, base: Path, *, mark: str = "") -> Image:
    """A verified image of the home: the base under a layer with `web.service`. `mark` makes another one of it."""
    store = ImageStore(home)
    made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    base_layer = store.layers.get(base.parent.name)
    with home.run("test-web") as run:
        root = run.folder / "root"
        for folder in ("opt/web", "etc/systemd/system/multi-user.target.wants"):
            (root / folder).mkdir(parents=True)
        root.chmod(0o755)
        shutil.copy(WEB / "web.py", root / "opt/web/web.py")
        shutil.copy(WEB / "web.service", root / "etc/systemd/system/web.service")
        (root / "etc/systemd/system/multi-user.target.wants/web.service").symlink_to("../web.service")
        (root / "opt/web/mark").write_text(mark)
        key = key_of({"test-web": mark, "nonce": secrets.token_hex(8)})
        layer = store.layers.adopt(root, key=key, kind="top", made=made)
    with store.reserve("web", time=made, build="test-web") as image:
        held = manifest(name=image.name, stack="web", time=made, parent=None)
        return store.judged(store.built(image, [base_layer, layer], held.render()), "verified")


def remove_web_image(home: Home, image: Image) -> None:
    store = ImageStore(home)
    store.remove(image)
    store.layers.remove(store.layers.get(image.layers[-1]))


def ami_of(image: Image) -> str:
    return ami_id(image.digest)

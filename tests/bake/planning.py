"""Stacks, sources and homes for tests of the bake: made in memory or in a temporary folder, no git, no root."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from agent.detect import Detected
from agent.heroku import AppJson
from agent.image import ImageManifest
from agent.runtimes import Base
from bake.home import Home
from bake.images import Image, ImageStore
from bake.layers import Layer
from bake.plan import BakePlan, Identity, RepoPlan, plan_bake, plan_repos
from bake.sources import Source
from tests.bake.stack_texts import parse

STACK = """
[stack]
name = "shop"
[repos.storefront]
url = "https://git.example.org/storefront"
[repos.orders-api]
url = "https://git.example.org/orders-api"
[repos.www]
url = "https://git.example.org/www"
static = "public"
[services.storefront]
health = { path = "/healthz" }
env = { LOG_LEVEL = "info" }
memory = "256M"
cpu = "50%"
calls = ["orders-api"]
[services.orders-api]
health = { path = "/healthz" }
[services.jobs]
repo = "storefront"
process = "worker"
kind = "worker"
databases_of = "storefront"
loosen = ["MemoryDenyWriteExecute"]
[services.www]
health = { path = "/" }
[datastores.db]
kind = "postgresql"
[datastores.queue]
kind = "redis"
"""

IDENTITY = Identity("shop-2026-11-23.1", "2026-11-23T18:00:00Z", None, "sha256:" + "b" * 64, "0.1.0", {"x.sh": "1"})
BASE = Base("3.11.2", "18.19.0", "debian-12-x86_64", ("3.11",))

PYTHON_REPO = Detected(("python",), requirements="requirements.txt", python_inputs={"requirements.txt": "aa"})
NODE_REPO = Detected(("node",), node_inputs={"package-lock.json": "bb"})
STATIC_REPO = Detected(("static",), static="public")

PROCESSES = {"web": "gunicorn app", "worker": "rq worker", "release": "python migrate.py"}


def sources(*, stack: str = STACK, **changes: Any) -> dict[str, Source]:
    """The three repos of STACK; ``storefront={"commit": ...}`` changes fields of one."""
    repos = parse(stack).repos
    parts = {
        "storefront": (PYTHON_REPO, PROCESSES, AppJson(generated=("SECRET_KEY",), datastores=("postgresql", "redis"))),
        "orders-api": (NODE_REPO, {"web": "npm start"}, AppJson(required=("STRIPE_KEY", "DATABASE_URL"))),
        "www": (STATIC_REPO, {}, AppJson()),
    }
    found = {}
    for number, (name, (detected, processes, app)) in enumerate(parts.items(), 1):
        source = Source(repos[name], str(number) * 40, "a" * 40, f"about {name}", 0, detected, processes, app)
        found[name] = dataclasses.replace(source, **changes.get(name.replace("-", "_"), {}))
    return found


def planned(stack: str = STACK, identity: Identity = IDENTITY, **changes: Any) -> BakePlan:
    return plan_bake(parse(stack), sources(**changes, stack=stack), identity)


def repo_plans(base: Base = BASE, **changes: Any) -> dict[str, RepoPlan]:
    return {repo.name: repo for repo in plan_repos(sources(**changes), base)}


def manifest(**changes: Any) -> ImageManifest:
    made = planned().manifest
    return ImageManifest(**{**{name: getattr(made, name) for name in ImageManifest.__fields__}, **changes})


def a_home(folder: Path) -> Home:
    """A home whose secrets are in an ordinary folder: mounting takes root."""
    home = Home(folder / "home", folder / "run", keep_secret=lambda path: path.mkdir(parents=True, mode=0o700))
    for part in (home.layers, home.images, home.logs, home.mirrors, home.runs, home.machines, home.cache):
        part.mkdir(parents=True)
    home.runtime.mkdir()
    return home


def a_tree(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def a_layer(store: ImageStore, folder: Path, name: str, kind: str = "repo") -> Layer:
    """A layer with one file, kept under the key that its name pads to."""
    root = a_tree(folder / f"root-{name}", {name: name})
    return store.layers.adopt(root, key=name.ljust(32, "0"), kind=kind, name=name, made="2026-11-23T18:00:00Z")


def an_image(
    store: ImageStore,
    layers: Sequence[Layer],
    state: Literal["built", "verified", "failed"] = "verified",
    *,
    stack: str = "shop",
    day: str = "23",
) -> Image:
    """An image of these layers in the store, in this state."""
    with store.reserve(stack, time=f"2026-11-{day}T18:00:00Z", build="bake-1") as image:
        built = store.built(image, layers, manifest(name=image.name, stack=stack).render())
    return built if state == "built" else store.judged(built, state, "it broke" if state == "failed" else "")

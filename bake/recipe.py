"""The bake, as a recipe: read, lock, fetch, plan, build with Packer, verify, register."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from agent.errors import BakebootError, VerifyError
from bake.assemble import Assembly, apt_key_hashes, image_layers, runtimes_of, system_layer, toolkit_hashes
from bake.base import BASES, make_base
from bake.git import Git
from bake.home import Home, locked, new_log
from bake.host import host_settings
from bake.images import Image, ImageStore
from bake.layers import Layer
from bake.lock import Lock, lock_stack
from bake.mirror import Mirror
from bake.mirrors import Mirrors
from bake.plan import Identity, plan_bake, plan_repos
from bake.reader import read_stack
from bake.sources import read_sources
from bake.stack import Stack
from bake.stage import Workshop
from bake.sweep import sweep
from bake.verify import verify_image
from bake.voice import Voice
from region.errors import RegionError


@dataclass(frozen=True)
class BakeOrder:
    """What is asked for: the stack file; ``update`` names repos to lock anew, ``update_all`` is every one of them."""

    stack_file: Path
    update: tuple[str, ...] = ()
    update_all: bool = False
    scratch: bool = False


def bake(home: Home, order: BakeOrder, voice: Voice, now: Callable[[], datetime.datetime]) -> Image:
    """Bake and verify one image.

    Raises the errors of each step (StackError, SourceError, BuildError …); VerifyError when the image
    was made and did not answer as it must: it is then kept as ``failed``.
    """
    sweep(home)
    made = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    voice.step("reading the stack")
    stack = read_stack(order.stack_file)
    images = ImageStore(home)
    with (
        locked(home.layers / ".lock", shared=True),  # so that no prune takes a layer before the image has it
        home.run("bake") as run,
        images.reserve(stack.name, time=made, build=run.name) as image,
        ThreadPoolExecutor(1) as aside,
    ):
        settings = aside.submit(host_settings, BASES[stack.base].suite)  # pip takes its time to tell its own
        log = new_log(home, run.name)
        voice.step("locking and fetching the repos")
        lock, mirrors = _fetch(home, stack, order, voice)
        sources = read_sources(stack, lock.repos, mirrors, where=str(order.stack_file))

        voice.step("preparing the base")
        base = make_base(
            home,
            stack.base,
            made=made,
            scratch=order.scratch,
            work=run.folder,
            log=log,
            say=voice.say,
            private=run.runtime,
        )
        plan = plan_bake(stack, sources, _identity(images, image, stack, base), where=str(order.stack_file))
        for message in plan.messages:
            voice.say(message)

        workshop = Workshop(home, run, settings.result(), image.name, log, voice.hear)
        assembly = Assembly(workshop, images, plan, mirrors, voice, made, order.scratch)
        system = system_layer(assembly, base)
        repos = plan_repos(sources, runtimes_of(base, system))
        layers, manifest = image_layers(assembly, repos, [base, system])
        image = images.built(image, layers, manifest)
        (image.folder / "bake.log").hardlink_to(log)
        voice.say(f"{image.name} is built: {len(layers)} layers, {image.digest[:19]}")

        voice.step("verifying")
        return judge(images, image, lambda: verify_image(images, image, run, stack.directory / "image_tests", voice))


def _fetch(home: Home, stack: Stack, order: BakeOrder, voice: Voice) -> tuple[Lock, Mapping[str, Mirror]]:
    """The lock as it now is, and mirrors that hold every commit of it."""
    mirrors = Mirrors(home.mirrors, Git(os.environ))
    update = tuple(stack.repos) if order.update_all else order.update
    path = order.stack_file.with_name("stack.lock")
    locking = lock_stack(stack, path, mirrors, update=update, look="unpinned")
    for change in locking.changes:
        if change.verdict != "same":
            voice.say(str(change))
    for notice in locking.notices:
        voice.say(notice)
    commits = {name: pin.commit for name, pin in locking.lock.repos.items()}
    return locking.lock, mirrors.hold(stack.repos.values(), commits)


def _identity(images: ImageStore, image: Image, stack: Stack, base: Layer) -> Identity:
    parent = images.newest_verified(image.stack)
    return Identity(
        image=image.name,
        time=image.time,
        parent=parent.name if parent else None,
        base_digest=base.digest,
        toolkit=version("bakeboot"),
        system_inputs=toolkit_hashes(),
        apt_keys=apt_key_hashes(stack),
    )


def judge(images: ImageStore, image: Image, verify: Callable[[], None]) -> Image:
    """Verify; the image is ``verified`` or, with the reason and its log, ``failed`` (raises VerifyError)."""
    try:
        verify()
    except (BakebootError, RegionError) as error:
        images.judged(image, "failed", f"{error.where}: {error.what}".removeprefix(": "))
        hint = f"bakeboot boot {image.name} --mode review --shell    (the log: {image.folder}/verify.log)"
        where = ": ".join(word for word in (image.name, error.where) if word)
        raise VerifyError(error.what, where=where, hint=hint) from error
    except BaseException as error:
        images.judged(image, "failed", f"its verification was broken off ({type(error).__name__})")
        raise
    return images.judged(image, "verified")

"""``bakeboot images list|show|diff|prune`` and ``bakeboot export``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from agent.errors import ImageError
from agent.image import ImageManifest
from bake.diff import ImageDiff, Subjects, diff_images
from bake.export import FORMATS, Format, export
from bake.git import Git
from bake.home import Home, locked, try_locked
from bake.images import Image, ImageStore
from bake.layers import size_of
from bake.local import running_images
from bake.mirrors import Mirrors
from bake.output import JSON, console, print_json, print_table, voice
from bake.prune import KEEP, PrunePlan, plan_prune, prune
from bake.sweep import sweep
from region.references import references
from region.sweep import sweep as sweep_machines


@click.group("images")
def images() -> None:
    """The images of this machine: what they hold, what changed, which can go."""


@images.command("list")
@JSON
def list_command(as_json: bool) -> None:
    """Every image, the oldest first."""
    found = ImageStore(Home.open()).all()
    if as_json:
        print_json([_record(image) for image in found])
        return
    rows = [(image.name, image.state, image.time, image.digest[7:19], _one_line(image.reason)) for image in found]
    print_table(("IMAGE", "STATE", "TIME", "DIGEST", "REASON"), rows)


@images.command("show")
@click.argument("image", default="latest")
@JSON
def show_command(image: str, as_json: bool) -> None:
    """What IMAGE holds: repos with commits, services, datastores, layers."""
    home = Home.open()
    with locked(home.layers / ".lock", shared=True):  # so that no prune takes a layer while it is measured
        store = ImageStore(home)
        found = store.find(image)
        manifest = None if found.state in ("baking", "unreadable") else found.manifest()
        if as_json:
            held = {} if manifest is None else {"image": json.loads(manifest.render())}
            print_json({**_record(found), **held})
            return
        console().print(f"{found.name}  {found.state}  {found.time}")
        if found.reason:
            console().print(f"  {found.reason}")
        if manifest is not None:
            _print_content(found, manifest, store)
        console().print(f"  logs: {found.folder}")


def _print_content(found: Image, manifest: ImageManifest, store: ImageStore) -> None:
    made_by = f"from {manifest.parent or 'nothing'}, on {manifest.base.name}, by toolkit {manifest.toolkit}"
    console().print(f"  {found.digest}, {made_by}")
    print_table(
        ("REPO", "REF", "COMMIT", "SUBJECT"),
        [(repo.name, repo.ref, repo.commit[:12], repo.subject) for repo in manifest.repos.values()],
    )
    print_table(
        ("SERVICE", "KIND", "REPO", "PORT", "NEEDS"),
        [(s.name, s.kind, s.repo, str(s.port or "-"), " ".join(s.needs) or "-") for s in manifest.services.values()],
    )
    layers = [store.layers.get(identifier) for identifier in found.layers]
    print_table(
        ("LAYER", "KIND", "OF", "MADE", "MIB"),
        [(one.id, one.kind, one.name or "-", one.made, f"{size_of([one.root]) / 2**20:.1f}") for one in layers],
    )


@images.command("diff")
@click.argument("before")
@click.argument("after")
@JSON
def diff_command(before: str, after: str, as_json: bool) -> None:
    """What changed from image BEFORE to image AFTER: commits with subjects, packages, services."""
    home = Home.open()
    store = ImageStore(home)
    old, new = store.find(before), store.find(after)
    difference = diff_images(old.manifest(), new.manifest(), _subjects(home, new.manifest()))
    if as_json:
        print_json({"before": old.name, "after": new.name, **difference.json()})
        return
    _print_diff(old, new, difference)


def _print_diff(old: Image, new: Image, difference: ImageDiff) -> None:
    out = console()
    out.print(f"{old.name} -> {new.name}")
    for repo in difference.repos:
        moved = f"{(repo.before or 'none')[:12]} -> {(repo.after or 'none')[:12]}"
        out.print(f"repo {repo.repo}: {moved}")
        for mark, commits in (("+", repo.commits), ("-", repo.undone)):
            for commit, subject in commits:
                out.print(f"  {mark} {commit[:12]} {subject}")
    for package in difference.packages:
        versions = " -> ".join(version for version in (package.before, package.after) if version is not None)
        out.print(f"{package.group}: {package.what} {package.package} {versions}")
    for name in difference.services_added:
        out.print(f"service {name}: added")
    for name in difference.services_removed:
        out.print(f"service {name}: removed")
    if difference == ImageDiff((), (), (), ()):
        out.print("the same commits, packages and services")


@images.command("prune")
@click.option(
    "--keep", type=click.IntRange(0), default=KEEP, show_default=True, help="Verified images of each stack to keep."
)
@click.option("--yes", is_flag=True, help="Do it. Without, only say what would go.")
@JSON
def prune_command(keep: int, yes: bool, as_json: bool) -> None:
    """Remove old images and the layers that no image needs; says what would go unless told --yes."""
    home = Home.open()
    sweep(home)
    with _alone(home) if yes else locked(home.layers / ".lock", shared=True):
        store = ImageStore(home)
        plan = plan_prune(
            store.all(),
            store.layers.all(),
            running=running_images(home.machines),
            references=references(home.root),
            keep=keep,
        )
        freed = size_of(layer.root for layer in plan.layers)
        if yes:
            prune(store, plan)
    if as_json:
        print_json(
            {
                "done": yes,
                "images": [image.name for image in plan.images],
                "layers": [layer.id for layer in plan.layers],
                "bytes": freed,
                "kept": {one.image.name: one.why for one in plan.kept},
                "kept_layers": {one.layer.id: one.why for one in plan.kept_layers},
            }
        )
    else:
        _print_prune(plan, freed, done=yes)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """No bake or export is under way for the length of the block, and no machine starts."""
    with try_locked(home.layers / ".lock") as alone:
        if not alone:
            raise ImageError(
                "a bake or an export is under way, or a machine starts, and may need what would go",
                where="images prune",
                hint="again when it has ended: bakeboot images prune --yes",
            )
        sweep_machines(home.root, home.runtime)  # of owners that died since: what still runs would lose its layers
        yield


def _print_prune(plan: PrunePlan, freed: int, *, done: bool) -> None:
    verb = "removed" if done else "would remove"
    for image in plan.images:
        console().print(f"{verb} {image.name} ({image.state}, {image.time})")
    console().print(f"{verb} {len(plan.layers)} layers, {freed / 2**20:.0f} MiB")
    for one in plan.kept:
        console().print(f"keeps {one.image.name}: {one.why}")
    for held in plan.kept_layers:
        console().print(f"keeps layer {held.layer.id}: {held.why}")
    if not done and (plan.images or plan.layers):
        console().print("  try   bakeboot images prune --yes")


@click.command("export")
@click.argument("image", default="latest")
@click.option("--format", "form", type=click.Choice(FORMATS), default="tar.zst", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=None, help="The file; else IMAGE.FORMAT here.")
def export_command(image: str, form: Format, output: Path | None) -> None:
    """Write IMAGE to one file: squashfs or tar.zst."""
    home = Home.open()
    sweep(home)
    with (
        locked(home.layers / ".lock", shared=True),  # so that no prune takes a layer that is being read
        home.run("export") as run,
        voice(stderr=False) as speaker,
    ):
        store = ImageStore(home)
        found = store.find(image)
        if not found.layers:
            raise ImageError("it has no content yet", where=found.name, hint="bakeboot images list")
        target = output or Path(f"{found.name}.{form}")
        speaker.step(f"writing {target}")
        export(store, found, run, target.absolute(), form)
        speaker.say(f"{target.stat().st_size / 2**20:.0f} MiB")


def _subjects(home: Home, manifest: ImageManifest) -> Subjects:
    """Commits between two, from the mirrors that this home has; none where it has no mirror."""
    mirrors = Mirrors(home.mirrors, Git(os.environ))

    def subjects(repo: str, old: str, new: str) -> list[tuple[str, str]]:
        baked = manifest.repos.get(repo)
        if baked is None:
            return []
        for mirror in mirrors.all():  # a relative URL says not where: the commits themselves do
            if mirror.has(old) and mirror.has(new):
                log = mirror.log(old, new, subdirectory=baked.subdirectory)
                return [(logged.commit, logged.subject) for logged in log]
        return []

    return subjects


def _record(image: Image) -> dict[str, object]:
    return {
        "name": image.name,
        "stack": image.stack,
        "state": image.state,
        "time": image.time,
        "digest": image.digest,
        "layers": list(image.layers),
        "reason": image.reason,
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())[:80]

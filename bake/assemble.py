"""The layers of an image: those that are there are taken, the others are built."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import ImageError, Mistake, StackError
from agent.runtimes import Base, read_base
from bake.files import image_files
from bake.images import ImageStore
from bake.layers import Layer, key_of
from bake.mirror import Mirror
from bake.plan import BakePlan, RepoPlan
from bake.render import Renderer
from bake.source_tar import write_tar
from bake.stack import AptSource, Stack
from bake.stage import AGENT, PACKER, Stage, Workshop, as_json, run_stage
from bake.voice import Voice

SYSTEM_SCRIPTS = ("00-payload.sh", "10-packages.sh", "20-toolkit.sh", "30-runtimes.sh")
IMAGE_SCRIPTS = ("00-payload.sh", "40-install.sh", "50-repos.sh")
"""What either adds is sealed from outside, when the machine is off (bake/stage.py)."""


@dataclass(frozen=True)
class Assembly:
    """What assembling one image shares. ``made`` is the bake's time; ``scratch`` takes nothing from before."""

    workshop: Workshop
    images: ImageStore
    plan: BakePlan
    mirrors: Mapping[str, Mirror]
    voice: Voice
    made: str
    scratch: bool

    def find(self, key: str) -> Layer | None:
        return None if self.scratch else self.images.layers.find(key)


def toolkit_hashes() -> dict[str, str]:
    """Hashes of the toolkit's files that decide what a system layer holds."""
    files = [PACKER / "scripts" / script for script in SYSTEM_SCRIPTS[1:]]
    files += [AGENT / "requirements.lock", AGENT / "requirements-build.lock", AGENT / "runtimes.py"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def apt_key_hashes(stack: Stack) -> dict[str, str]:
    """Hashes of the keys of the stack's apt sources, by name; raises StackError where a key can't be read."""
    hashes, mistakes = {}, []
    for name, source in stack.apt_sources.items():
        if source.key is not None:
            try:
                hashes[name] = hashlib.sha256(source.key.read_bytes()).hexdigest()
            except OSError as error:
                path = f"stack.apt_sources.{name}.key"
                mistakes.append(Mistake(path, f"can't be read: {error.strerror}", f"ls -l {source.key}"))
    if mistakes:
        raise StackError(mistakes, where="stack.toml")
    return hashes


def agent_hash() -> str:
    """The hash of the agent's own files, as they go on an image."""
    files = sorted(path for path in AGENT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return key_of({str(path.relative_to(AGENT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})


def system_layer(assembly: Assembly, base: Layer) -> Layer:
    """The layer with apt packages, runtimes and the agent's environment; made when its inputs are new."""
    system = assembly.plan.system
    layer = assembly.find(system.key)
    if layer is not None:
        return layer
    assembly.voice.step("installing packages (once for the same list)")
    payload: dict[str, str | Path] = {
        "packages": "\n".join(system.packages) + "\n",
        "pythons": "".join(f"{version} {','.join(repos)}\n" for version, repos in system.pythons.items()),
        "nodes": "".join(f"{major}\n" for major in system.runtimes),
        "agent.lock": AGENT / "requirements.lock",
        "agent-build.lock": AGENT / "requirements-build.lock",
        "lib/agent": AGENT,
    }
    for source in assembly.plan.stack.apt_sources.values():
        payload[f"apt/sources.list.d/{source.name}.sources"] = _deb822(source)
        if source.key is not None:
            payload[f"apt/keyrings/{_keyring(source)}"] = source.key
    result = run_stage(assembly.workshop, Stage("system", SYSTEM_SCRIPTS, payload), [base])
    return assembly.images.layers.adopt(result.upper, key=system.key, kind="system", made=assembly.made)


def runtimes_of(base: Layer, system: Layer) -> Base:
    """What base and system layer together bring to builds, read from their files.

    dpkg's database lies whole in the upper of the two; the release's name mostly in the lower alone.
    """
    below, above = read_base(base.root), read_base(system.root)
    named = above if (system.root / "usr/lib/os-release").exists() else below
    pythons = sorted({*below.pythons, *above.pythons}, key=lambda version: int(version.partition(".")[2]))
    return replace(above, abi=named.abi, pythons=tuple(pythons))


def image_layers(assembly: Assembly, repos: Sequence[RepoPlan], lower: list[Layer]) -> tuple[list[Layer], str]:
    """The whole stack of layers of the image, the lowest first, and the text of its image.json."""
    deps = {key: layer for repo in repos for key in repo.deps.values() if (layer := assembly.find(key)) is not None}
    whole = [repo for repo in repos if deps.keys() >= set(repo.deps.values())]
    ready = {repo.name: layer for repo in whole if (layer := assembly.find(repo.key)) is not None}
    missing = [repo for repo in repos if repo.name not in ready]
    agent_key = key_of({"agent": agent_hash(), "on": lower[-1].id})
    agent = assembly.find(agent_key)
    assembly.voice.step("building " + (", ".join(repo.name for repo in missing) or "no repo: none changed"))
    earlier = [] if assembly.scratch else _earlier_checkouts(assembly, missing)
    result = run_stage(
        assembly.workshop,
        Stage("image", IMAGE_SCRIPTS, _image_payload(assembly, repos, missing, with_agent=agent is None), tidy=False),
        [*lower, *([agent] if agent else []), *deps.values(), *earlier, *ready.values()],
    )
    agent = agent or _part(assembly, result.upper, Path("opt/bakeboot/lib"), agent_key, "agent")
    layers = [*lower, agent, *_split(assembly, result.upper, repos, deps, ready)]
    key = key_of({"image": assembly.plan.manifest.name})
    rest = assembly.images.layers.adopt(result.upper, key=key, kind="top", made=assembly.made)
    return [*layers, rest], result.told


def _earlier_checkouts(assembly: Assembly, missing: Sequence[RepoPlan]) -> list[Layer]:
    """Layers with an earlier commit of the repos to build: a build takes unchanged dependencies from there.

    One that is gone only makes its repo's build slower.
    """
    newest = assembly.images.newest_verified(assembly.plan.stack.name)
    if newest is None:
        return []
    layers = []
    for identifier in newest.layers:
        with suppress(ImageError):
            layers.append(assembly.images.layers.get(identifier))
    commits = {repo.name: repo.source.commit for repo in missing}
    return [
        layer
        for layer in layers
        if layer.kind == "repo"
        and layer.name in commits
        and not (layer.root / "srv/bakeboot" / layer.name / commits[layer.name]).exists()
    ]


def _image_payload(
    assembly: Assembly, repos: Sequence[RepoPlan], missing: Sequence[RepoPlan], *, with_agent: bool
) -> dict[str, str | Path]:
    sources = assembly.workshop.run.folder / "sources"
    sources.mkdir()
    files = image_files(assembly.plan, Renderer())
    plan = {
        "version": 1,
        "repos": [repo.order() for repo in missing],
        "switch": False,
    }
    payload: dict[str, str | Path] = {
        "image.json": assembly.plan.manifest.render(),
        "build.json": as_json(plan),
        "current": "".join(f"{repo.name} {repo.source.commit}\n" for repo in repos),
        "executables": "".join(f"{file.path}\n" for file in files if file.executable),
        **{f"files{file.path}": file.text for file in files},
    }
    if with_agent:
        payload["lib/agent"] = AGENT
    for repo in missing:
        tar = sources / f"{repo.name}.tar"
        write_tar(assembly.mirrors[repo.name], repo.source.commit, repo.source.repo.subdirectory, tar)
        payload[f"sources/{repo.name}.tar"] = tar
    return payload


def _split(
    assembly: Assembly,
    upper: Path,
    repos: Sequence[RepoPlan],
    deps: Mapping[str, Layer],
    ready: Mapping[str, Layer],
) -> list[Layer]:
    """Take each repo's part out of what the machine added: dependencies and code become layers of their own."""
    layers = []
    for repo in repos:
        place = Path("srv/bakeboot") / repo.name
        for folder, key in repo.deps.items():
            layers.append(deps.get(key) or _part(assembly, upper, place / folder, key, "deps", repo.name))
        code = ready.get(repo.name)
        layers.append(code or _part(assembly, upper, place / repo.source.commit, repo.key, "repo", repo.name))
    return layers


def _part(assembly: Assembly, upper: Path, place: Path, key: str, kind: str, name: str = "") -> Layer:
    root = upper.parent / f"part-{key}"
    (root / place).parent.mkdir(parents=True)
    (upper / place).rename(root / place)
    return assembly.images.layers.adopt(root, key=key, kind=kind, name=name, made=assembly.made)


def _deb822(source: AptSource) -> str:
    """One apt source in the format of sources.list(5), "deb822-style"."""
    signed = f"/etc/apt/keyrings/{_keyring(source)}" if source.key else "/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {source.suite}", f"Signed-By: {signed}"]
    components = [f"Components: {' '.join(source.components)}"] if source.components else []
    return "\n".join((*lines, *components, ""))


def _keyring(source: AptSource) -> str:
    return f"{source.name}{source.key.suffix if source.key else ''}"

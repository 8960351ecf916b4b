"""Real builds of small repos, by pip, npm and venv, as the build user of a real machine.

One machine for all, on the host's network and with the host's package settings, as a bake has it.
Debian's nodejs and npm come in a layer of their own, kept in the home of the tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.build_plan import package_settings
from agent.detect import detect
from agent.runtimes import read_base
from bake.home import Home
from bake.host import HostSettings, host_settings
from bake.host_apt import MOUNT
from region.machine import Bind, Machine, MachineSpec, start_machine
from tests.system.bakery import install_script, layer_by

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLKIT = "/run/bakeboot-test/lib"
REPOS = "/run/bakeboot-test/repos"
SCRIPT = f"""\
{install_script("nodejs", "npm")}\
useradd --system --user-group --home-dir /nonexistent bakeboot-build
"""
LOGS = "/run/bakeboot-build/logs"
PROGRAM = """\
import sys
sys.path.insert(0, sys.argv[1])
from agent.build_cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="session")
def settings() -> HostSettings:
    return host_settings("bookworm")


@pytest.fixture(scope="session")
def layers(home: Home, base_root: Path) -> tuple[Path, ...]:
    """The base, and Debian's Node and a build user on top of it."""
    return (base_root, layer_by(home, (base_root,), SCRIPT))


@pytest.fixture(scope="module")
def repos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repos")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def machine(home: Home, layers: tuple[Path, ...], settings: HostSettings, repos: Path) -> Iterator[Machine]:
    with home.run("test-builds") as run:
        binds = (
            settings.write(run.runtime / "host"),
            *settings.binds,
            Bind(ROOT / "agent", f"{TOOLKIT}/agent"),
            Bind(repos, REPOS),
        )
        spec = MachineSpec("test-builds", layers, network="host", binds=binds, sync=False)
        machine = start_machine(spec, home.root, home.runtime)
        try:
            machine.wait_booted()
            yield machine
        finally:
            machine.discard()


class Builder:
    """Writes repos, has the machine build them, and reads what came out."""

    def __init__(self, machine: Machine, repos: Path, settings: HostSettings) -> None:
        self.machine = machine
        self.repos = repos
        self.environment = package_settings(settings.environment)

    def repo(self, name: str, files: dict[str, str], **more: object) -> dict[str, Any]:
        """Write a repo and give its entry in a build plan; the commit is made up from its content."""
        commit = hashlib.sha1(json.dumps([name, files]).encode()).hexdigest()
        folder = self.repos / name / commit
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        base = read_base(self.machine.root)
        build, static = more.get("build"), more.get("static")
        detected = detect(
            list(files),
            lambda path: files[path].encode(),
            build=str(build) if build else None,
            static=str(static) if static else None,
            base_python=base.python,
            base_node=base.node or "",
            where=name,
        )
        source = f"{REPOS}/{name}/{commit}"
        entry = {"name": name, "source": source, "commit": commit, "tree": commit, "detected": detected.to_json()}
        return {**entry, "processes": {"web": "true"}, **more}

    def command(self, *entries: dict[str, object], **plan: object) -> list[str]:
        document = {"repos": entries, "environment": self.environment, **plan}
        self.machine.run(["sh", "-c", "mkdir -p /run/plans && cat >/run/plans/plan.json"], input=json.dumps(document))
        return ["python3", "-B", "-c", PROGRAM, TOOLKIT, "--plan", "/run/plans/plan.json", "--logs", LOGS]

    def build(self, *entries: dict[str, object], code: int = 0, **plan: object) -> tuple[list[tuple[str, str]], str]:
        """The events told, as ``(repo, event)``, and what came on standard error."""
        done = self.machine.run(self.command(*entries, **plan), timeout=600, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        told = [json.loads(line.removeprefix("bakeboot-progress ")) for line in done.stdout.splitlines()]
        return [(line["repo"], line.get("title", line["event"])) for line in told], done.stderr

    def shell(self, script: str) -> str:
        return self.machine.run(["sh", "-ec", script]).stdout.strip()

    def record(self, repo: str) -> dict[str, Any]:
        record = json.loads(self.shell(f"cat /srv/bakeboot/{repo}/current/.bakeboot/checkout.json"))
        assert isinstance(record, dict)
        return record


@pytest.fixture
def builder(machine: Machine, repos: Path, settings: HostSettings) -> Builder:
    return Builder(machine, repos, settings)


FLASK = {"requirements.txt": "flask==3.0.3\n", "app.py": "import flask\nprint('flask', flask.Flask('x').name)\n"}
EXPRESS = {
    "package.json": '{"name": "x", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}',
    "package-lock.json": json.dumps(
        {
            "name": "x",
            "version": "1.0.0",
            "lockfileVersion": 3,
            "requires": True,
            "packages": {
                "": {"name": "x", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}},
                "node_modules/ms": {"version": "2.1.3"},
            },
        }
    ),
    "server.js": "console.log(require('ms')('1m'), process.version)\n",
}


def with_scripts(scripts: dict[str, str], **package: object) -> dict[str, str]:
    """The Node repo with build scripts and a development dependency that only the build needs."""
    manifest = {
        **json.loads(EXPRESS["package.json"]),
        "scripts": scripts,
        "devDependencies": {"isarray": "2.0.5"},
        **package,
    }
    lock = json.loads(EXPRESS["package-lock.json"])
    lock["packages"][""] |= {key: manifest[key] for key in ("devDependencies", "engines") if key in manifest}
    lock["packages"]["node_modules/isarray"] = {"version": "2.0.5", "dev": True}
    return {**EXPRESS, "package.json": json.dumps(manifest), "package-lock.json": json.dumps(lock)}


def test_a_flask_repo_gets_a_virtual_environment_of_its_own(builder: Builder) -> None:
    events, _ = builder.build(builder.repo("flask", FLASK))
    assert events == [
        ("flask", word) for word in ("start", "copy", "python -m venv", "pip install", "bytecode", "done")
    ]
    assert builder.shell("cd /srv/bakeboot/flask/current && .venv/bin/python app.py") == "flask x"
    assert builder.shell("cd /srv/bakeboot/flask/current && .venv/bin/flask --version").startswith("Python 3.11")
    assert builder.record("flask")["packages"]["python"]["flask"] == "3.0.3"
    assert builder.record("flask")["python"] == "3.11"
    # Bytecode is there, so that a service, which can't write it, starts fast.
    assert builder.shell("ls /srv/bakeboot/flask/current/__pycache__") == "app.cpython-311.pyc"
    assert builder.shell("ls /srv/bakeboot/flask/deps-*/venv/lib/python3.11/site-packages/flask/__pycache__ | head -1")


def test_a_new_commit_with_the_same_requirements_installs_nothing(builder: Builder) -> None:
    builder.build(builder.repo("again", FLASK))
    events, _ = builder.build(builder.repo("again", {**FLASK, "new.txt": "x\n"}))
    assert events == [("again", word) for word in ("start", "copy", "bytecode", "done")]
    assert builder.shell("ls -d /srv/bakeboot/again/deps-* | wc -l") == "1"
    assert builder.shell("cd /srv/bakeboot/again/current && cat new.txt && .venv/bin/python app.py") == "x\nflask x"


def test_a_project_and_an_editable_install_are_found_at_their_final_path(builder: Builder) -> None:
    files = {
        "pyproject.toml": '[project]\nname = "proj"\nversion = "1.5"\n[project.scripts]\nproj = "proj:main"\n',
        "proj.py": "def main() -> None:\n    print('here', __file__)\n",
    }
    builder.build(builder.repo("project", files))
    assert builder.shell("/srv/bakeboot/project/current/.venv/bin/proj").startswith("here /srv/bakeboot/project/deps-")
    assert (
        builder.shell("ls -A /srv/bakeboot/project/current/")
        == ".bakeboot\n.venv\n__pycache__\nproj.py\npyproject.toml"
    )
    builder.build(builder.repo("editable", {**files, "requirements.txt": "-e .\n"}))
    at = builder.shell("readlink -f /srv/bakeboot/editable/current")
    assert builder.shell("/srv/bakeboot/editable/current/.venv/bin/proj") == f"here {at}/proj.py"


def test_a_node_repo_gets_production_dependencies_alone(builder: Builder) -> None:
    events, _ = builder.build(builder.repo("node", with_scripts({})))
    assert events == [("node", word) for word in ("start", "copy", "npm ci", "done")]
    assert builder.shell("cd /srv/bakeboot/node/current && node server.js").startswith("60000 v18")
    assert builder.record("node")["packages"]["node"] == {"ms": "2.1.3"}
    events, _ = builder.build(builder.repo("node", {**with_scripts({}), "x": ""}))
    assert events == [("node", word) for word in ("start", "copy", "reuse node_modules", "done")]
    assert builder.shell("cd /srv/bakeboot/node/current && node server.js").startswith("60000 v18")


def test_build_scripts_have_development_dependencies_and_the_checkout_has_not(builder: Builder) -> None:
    write = "require('fs').writeFileSync('built', process.env.NODE_ENV + require('isarray')([]))"
    scripts = {"heroku-postbuild": f'node -e "{write}"', "build": "exit 1"}
    events, _ = builder.build(builder.repo("scripts", with_scripts(scripts)))
    assert [word for _, word in events][2:] == ["npm ci", "npm run heroku-postbuild", "npm prune", "done"]
    assert builder.shell("cat /srv/bakeboot/scripts/current/built") == "productiontrue"
    assert builder.record("scripts")["packages"]["node"] == {"ms": "2.1.3"}


@pytest.mark.parametrize("major", ["20", "22"])
def test_a_pinned_node_comes_from_npm(major: str, builder: Builder) -> None:
    name = f"node{major}"
    scripts = {"build": "node --version > version && npm --version >> version"}
    builder.build(builder.repo(name, with_scripts(scripts, engines={"node": f"{major}.x"})))
    built = builder.shell(f"cat /srv/bakeboot/{name}/current/version").splitlines()
    assert built[0].startswith(f"v{major}.")
    assert built[1].startswith("10.")
    home = f"/opt/bakeboot/runtimes/node-{major}"
    assert builder.record(name)["path"] == ["node_modules/.bin", f"{home}/bin"]
    ran = builder.shell(f"cd /srv/bakeboot/{name}/current && PATH={home}/bin:$PATH npm exec -- node server.js")
    assert ran.startswith(f"60000 v{major}.")
    assert builder.shell(f"ls {home} {home}/bin | xargs") == f"{home}: LICENSE bin include lib {home}/bin: node npm npx"


def test_a_node_that_npm_does_not_have_is_told_with_those_it_has(builder: Builder) -> None:
    _, told = builder.build(builder.repo("future", with_scripts({}, engines={"node": "59"})), code=12)
    assert "future: npm's node package has no 59; to be had: " in told
    assert ", 20, 21, 22, " in told


def test_static_and_command_repos_are_built_as_they_say(builder: Builder) -> None:
    builder.build(
        builder.repo("static", {"public/index.html": "hello"}),
        builder.repo("command", {"x": ""}, build="id -un > who && echo $HOME > home", static="."),
    )
    assert builder.record("static")["static"] == "public"
    assert builder.shell("cat /srv/bakeboot/static/current/public/index.html") == "hello"
    assert builder.shell("cat /srv/bakeboot/command/current/who") == "bakeboot-build"
    assert builder.shell("cat /srv/bakeboot/command/current/home").startswith("/var/tmp/bakeboot-build-")


def test_a_failing_repo_is_told_and_keeps_the_others_from_being_switched(builder: Builder) -> None:
    good = builder.repo("good", {"index.html": "x"})
    bad = builder.repo("bad", {"requirements.txt": "no-such-package-of-anyone==99.99\n"})
    events, told = builder.build(good, bad, code=12)
    assert ("good", "done") in events
    assert ("bad", "failed") in events
    assert "bad | ERROR: No matching distribution found for no-such-package-of-anyone==99.99" in told
    assert "bad: pip install failed (exit code 1)\n  again agent build --plan /run/plans/plan.json --repo bad" in told
    assert builder.shell("ls -A /srv/bakeboot/bad; ls -A /srv/bakeboot/good | grep -c current || true") == "0"


def test_a_wrong_hash_in_the_requirements_is_refused(builder: Builder) -> None:
    line = f"flask==3.0.3 --hash=sha256:{'0' * 64}\n"
    _, told = builder.build(builder.repo("hashes", {"requirements.txt": line}), code=12)
    assert "hash" in told.lower()


def test_a_build_that_is_killed_half_way_is_made_whole_by_the_next(builder: Builder) -> None:
    entry = builder.repo("killed", FLASK, processes={"web": "x"})
    command = builder.command(entry)
    script = (
        '"$@" >/dev/null 2>&1 & pid=$!; '
        "until [ -e /srv/bakeboot/killed/deps-*/venv/bin/python ] || ! kill -0 $pid; do sleep 0.05; done; "
        "kill -9 $pid; wait $pid || true; "
        # What it had started is ended by hand here, as a power cut would.
        "for dir in /proc/[0-9]*; do "
        "if [ $(stat -c %U $dir) = bakeboot-build ]; then kill -9 ${dir#/proc/} || true; fi; done"
    )
    builder.machine.run(["sh", "-c", script, "sh", *command], timeout=120)
    left = builder.shell("ls -A /srv/bakeboot/killed")
    assert entry["commit"] in left
    assert "current" not in left
    builder.build(entry)
    assert builder.shell("cd /srv/bakeboot/killed/current && .venv/bin/python app.py") == "flask x"


def test_nothing_belongs_to_the_build_user_or_names_the_settings_of_the_host(
    builder: Builder, settings: HostSettings
) -> None:
    trees = "/srv/bakeboot /opt/bakeboot"
    assert builder.shell(f"find {trees} ! -user root -o ! -type l -perm /go+w -o -perm /ug+s") == ""
    assert builder.shell(f"find {trees} -type d ! -perm -go+rx -o -type f ! -perm -go+r") == ""
    assert builder.shell("ls /var/tmp | grep -v ^systemd-private- || true") == ""
    assert f"{MOUNT}/" in settings.traces()
    for secret in settings.traces():
        assert builder.shell(f"grep -rlF -e '{secret}' {trees} || true") == ""


def test_a_service_user_can_run_what_was_built(builder: Builder) -> None:
    builder.build(builder.repo("served", FLASK))
    as_nobody = "setpriv --reuid nobody --regid nogroup --clear-groups"
    assert builder.shell(f"cd /srv/bakeboot/served/current && {as_nobody} .venv/bin/python app.py") == "flask x"

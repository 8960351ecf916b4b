"""agent/detect.py and agent/pins.py: which build, which runtime, which inputs."""

from __future__ import annotations

import hashlib
import json

import pytest

from agent.detect import Detected, detect
from agent.errors import BuildError

PACKAGE = '{"dependencies": {"express": "4"}}'
LOCK = '{"lockfileVersion": 3}'
PROJECT = '[project]\nname = "x"\nversion = "1"\n'


def found(files: dict[str, str], **stack: str) -> Detected:
    return detect(list(files), lambda name: files[name].encode(), where="shop", **stack)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def node(package: dict[str, object], **files: str) -> dict[str, str]:
    return {"package.json": json.dumps(package), "package-lock.json": LOCK, **files}


@pytest.mark.parametrize(
    ("files", "build", "static"),
    [
        ({"requirements.txt": "flask\n", "app.py": ""}, "python", None),
        ({"pyproject.toml": PROJECT}, "python", None),
        ({"pyproject.toml": "[tool.ruff]\n", "requirements.txt": ""}, "python", None),
        ({"package.json": PACKAGE, "package-lock.json": LOCK}, "node", None),
        ({"package.json": PACKAGE, "npm-shrinkwrap.json": LOCK}, "node", None),
        ({"package.json": PACKAGE, "package-lock.json": LOCK, "requirements.txt": ""}, "node+python", None),
        ({"index.html": ""}, "static", "."),
        ({"public/index.html": "", "README.md": ""}, "static", "public"),
        ({"pyproject.toml": "[tool.ruff]\n", "index.html": ""}, "static", "."),
        ({"requirements.txt": "", "index.html": ""}, "python", None),
        ({"requirements.txt": "", "poetry.lock": ""}, "python", None),
    ],
)
def test_a_repo_is_built_by_what_is_in_it(files: dict[str, str], build: str, static: str | None) -> None:
    assert (found(files).build, found(files).static) == (build, static)


@pytest.mark.parametrize(
    ("files", "stack", "build", "static"),
    [
        ({"Gemfile": ""}, {"build": "bundle install"}, "command", None),
        ({"package.json": "{}"}, {"build": "make"}, "command", None),
        ({"x": ""}, {"static": "out/"}, "static", "out"),
        ({"x": ""}, {"static": ""}, "static", "."),
        ({"package.json": PACKAGE, "package-lock.json": LOCK}, {"static": "dist"}, "node+static", "dist"),
        ({"Makefile": ""}, {"build": "make", "static": "site"}, "command", "site"),
    ],
)
def test_the_stack_file_has_the_last_word(
    files: dict[str, str], stack: dict[str, str], build: str, static: str | None
) -> None:
    assert (found(files, **stack).build, found(files, **stack).static) == (build, static)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "nothing here says how to build it"),
        ({"Gemfile": "", "Gemfile.lock": ""}, "Gemfile (Ruby)"),
        ({"go.mod": ""}, "go.mod (Go)"),
        ({"pom.xml": "", "Dockerfile": ""}, "pom.xml (Maven), Dockerfile (Docker)"),
        ({"composer.json": ""}, 'try   build = "make install"'),
        ({"Pipfile": ""}, "try   pipenv requirements > requirements.txt"),
        ({"pyproject.toml": PROJECT, "poetry.lock": ""}, "poetry.lock without requirements.txt"),
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, "try   uv export"),
        ({"setup.py": ""}, "try   echo . > requirements.txt"),
        ({"package.json": "{}"}, "try   npm install --package-lock-only"),
        ({"package.json": "{}", "yarn.lock": ""}, "yarn.lock (Yarn) is not read"),
        ({"package-lock.json": "{}"}, "package-lock.json without package.json"),
        ({"package.json": "{", "package-lock.json": ""}, "package.json is not JSON"),
        ({"package.json": "[]", "package-lock.json": ""}, "package.json: expected an object"),
        ({"package.json": '{"scripts": []}', "package-lock.json": ""}, "nothing"),
        ({"package.json": '{"scripts": ["x"]}', "package-lock.json": ""}, "scripts: expected an object"),
        ({"package.json": '{"engines": {"node": 20}}', "package-lock.json": ""}, "engines.node: expected a string"),
        ({"pyproject.toml": "[project"}, "pyproject.toml is not TOML"),
        ({"requirements.txt": "-r missing.txt"}, "requirements.txt includes missing.txt, which is not in the repo"),
        ({"requirements.txt": "-r ../../etc/passwd"}, "not in the repo"),
    ],
)
def test_what_cant_be_built_is_refused_by_name(files: dict[str, str], words: str) -> None:
    if words == "nothing":
        assert found(files).scripts == ()
        return
    with pytest.raises(BuildError) as caught:
        found(files)
    assert words in str(caught.value)
    assert str(caught.value).startswith("shop: ")


@pytest.mark.parametrize("static", ["../x", "/etc", "a/../../b", "a\0b"])
def test_a_static_directory_stays_inside_the_repo(static: str) -> None:
    with pytest.raises(BuildError, match="inside the repo"):
        found({"x": ""}, static=static)


def test_a_file_that_is_not_text_is_refused_by_name() -> None:
    with pytest.raises(BuildError, match=r"shop: requirements\.txt is not UTF-8"):
        detect(["requirements.txt"], lambda name: b"\xff\xfe", where="shop")


def test_included_requirements_are_inputs() -> None:
    files = {
        "requirements.txt": "-r requirements/base.txt  # shared\nflask==3.0.0 \\\n  --hash=sha256:00\n",
        "requirements/base.txt": "-c ../limits.txt\n--requirement=more.txt\nredis\n",
        "requirements/more.txt": "-r base.txt\n",
        "limits.txt": "",
        "requirements-dev.txt": "pytest",
    }
    detected = found(files)
    assert dict(detected.python_inputs) == {name: digest(text) for name, text in files.items() if "dev" not in name}
    assert not detected.python_local


def test_package_json_lock_and_npmrc_are_inputs() -> None:
    files = node({}, **{".npmrc": "engine-strict=true", "server.js": ""})
    assert sorted(found(files).node_inputs) == [".npmrc", "package-lock.json", "package.json"]


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("flask==3.0.0", False),
        ("flask[async]>=2 ; python_version > '3.8'", False),
        ("x @ https://example.com/x.whl", False),
        ("git+https://example.com/x.git@v1#egg=x", False),
        ("--index-url https://example.com/simple/", False),
        ("-e .", True),
        ("-e git+https://example.com/x.git#egg=x", False),
        (".", True),
        ("./lib", True),
        ("lib/thing", True),
        ("vendor/x-1.0-py3-none-any.whl", True),
        ("x @ file:///srv/x", True),
        ("--find-links vendor", True),
        ("-f https://example.com/", False),
    ],
)
def test_a_requirement_in_the_tree_is_seen(line: str, local: bool) -> None:
    assert found({"requirements.txt": line}).python_local is local


@pytest.mark.parametrize(
    ("package", "local"),
    [
        ({"dependencies": {"a": "^1.0.0", "b": "npm:c@1", "d": "github:x/y"}}, False),
        ({"dependencies": {"a": "file:lib/a"}}, True),
        ({"devDependencies": {"a": "../a"}}, True),
        ({"workspaces": ["packages/*"]}, True),
    ],
)
def test_a_node_package_in_the_tree_is_seen(package: dict[str, object], local: bool) -> None:
    assert found(node(package)).node_local is local


PYTHON_FILES: list[tuple[dict[str, str], str | None, str]] = [
    ({}, None, ""),
    ({"runtime.txt": "python-3.11.4\n"}, None, "runtime.txt asks for Python 3.11.4: met by any 3.11"),
    ({"runtime.txt": "python-3.11"}, None, ""),
    ({".python-version": "3.12\n"}, "3.12", ""),
    ({".python-version": "# ours\n\n3.12.7\n3.11\n"}, "3.12", "met by any 3.12"),
    ({"runtime.txt": "python-3.10.1", ".python-version": "3.12"}, "3.10", "runtime.txt"),
    ({".python-version": "\n"}, None, ""),
]


@pytest.mark.parametrize(("files", "wanted", "message"), PYTHON_FILES)
def test_a_python_pin_is_met_by_its_major_and_minor(files: dict[str, str], wanted: str | None, message: str) -> None:
    detected = found({"requirements.txt": "", **files})
    assert detected.python == wanted
    assert message in " ".join(detected.messages)
    assert bool(message) == bool(detected.messages)


@pytest.mark.parametrize(
    ("requires", "wanted"),
    [
        (">=3.9", None),
        (">=3.9,<4", None),
        (">=3.11.4", None),
        ("~=3.10", None),
        ("~=3.10.2", "3.10"),
        ("==3.11.*", None),
        ("!=3.11.*", "3.12"),
        (">=3.10,<3.12,!=3.11.*", "3.10"),
        (">=3.12", "3.12"),
        (">3.11", None),
        (">=3.12, <3.14", "3.12"),
        ("<3.11,>=3.8", "3.10"),
        ("===3.12.1", "3.12"),
        ("", None),
    ],
)
def test_requires_python_is_a_range(requires: str, wanted: str | None) -> None:
    assert found({"pyproject.toml": f'{PROJECT}requires-python = "{requires}"\n'}).python == wanted


NODE_PINS: list[tuple[str | None, dict[str, str], str | None, str]] = [
    (None, {}, None, ""),
    ("20.x", {}, "20", "package.json asks for Node 20.x: met by any 20"),
    ("18.x", {}, None, ""),
    (">=18", {}, None, ""),
    (">= 18.0.0", {}, None, ""),
    ("^20.1", {}, "20", "met by any 20"),
    ("18 || 20", {}, None, ""),
    ("20 || 22", {}, "20", "met by any 20"),
    (">=19", {}, "20", "met by any 20"),
    (">=20.1 <21", {}, "20", "met by any 20"),
    ("18.19.0", {}, None, ""),
    ("~16.13", {}, "16", "met by any 16"),
    ("<18", {}, "16", "met by any 16"),
    ("<=16.x", {}, "16", "met by any 16"),
    (">18", {}, "20", "met by any 20"),
    ("21", {}, "21", "met by any 21"),
    ("14 - 16.2", {}, "16", "met by any 16"),
    ("v22.11.0", {}, "22", "met by any 22"),
    ("*", {}, None, ""),
    ("", {}, None, ""),
    (None, {".nvmrc": "20\n"}, "20", ""),
    (None, {".nvmrc": "v20.11.1"}, "20", ".nvmrc asks for Node v20.11.1: met by any 20"),
    (None, {".nvmrc": "lts/iron"}, "20", "met by any 20"),
    (None, {".nvmrc": "lts/*"}, None, ""),
    (None, {".node-version": "18.1.0"}, None, "met by any 18"),
    (">=18", {".nvmrc": "22"}, "22", ""),
    ("18.x", {".nvmrc": "22"}, None, "package.json counts"),
]


@pytest.mark.parametrize(("engines", "files", "wanted", "message"), NODE_PINS)
def test_a_node_pin_is_met_by_its_major(
    engines: str | None, files: dict[str, str], wanted: str | None, message: str
) -> None:
    detected = found(node({"engines": {"node": engines}} if engines is not None else {}, **files))
    assert detected.node == wanted
    assert message in " ".join(detected.messages)
    assert bool(message) == bool(detected.messages)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"requirements.txt": "", "runtime.txt": "pypy-3.9"}, "shop: runtime.txt: expected a version of Python 3"),
        ({"requirements.txt": "", ".python-version": "2.7"}, ".python-version: expected a version of Python 3"),
        ({"pyproject.toml": PROJECT + 'requires-python = "<3"'}, "no Python 3 meets"),
        ({"pyproject.toml": PROJECT + 'requires-python = "^3.9"'}, "can't be read"),
        (node({"engines": {"node": "banana"}}), "engines.node can't be read"),
        (node({"engines": {"node": "20 & 21"}}), "engines.node can't be read"),
        (node({"engines": {"node": "<2"}}), "no Node meets"),
        (node({}, **{".nvmrc": "$(id)"}), ".nvmrc: expected a version of Node"),
        (node({}, **{".nvmrc": "lts/nosuch"}), ".nvmrc: expected a version of Node"),
    ],
)
def test_a_pin_that_cant_be_read_is_told_by_file(files: dict[str, str], words: str) -> None:
    with pytest.raises(BuildError) as caught:
        found(files)
    assert words in str(caught.value)


def test_a_build_command_still_gets_the_pinned_node() -> None:
    assert found({"package.json": "{}", ".nvmrc": "20"}, build="make").node == "20"


def test_a_detection_crosses_as_json_unharmed() -> None:
    files = node(
        {"scripts": {"build": "x", "heroku-postbuild": "y"}, "engines": {"node": "20"}}, **{"requirements.txt": "-e ."}
    )
    detected = found(files, static="out")
    assert detected.scripts == ("build", "heroku-postbuild")
    assert Detected.from_json(json.loads(json.dumps(detected.to_json()))) == detected


def test_a_detection_of_a_later_version_is_read_and_a_wrong_one_refused() -> None:
    assert Detected.from_json({"parts": ["static"], "from_the_future": 1}) == Detected(("static",))
    with pytest.raises(BuildError, match="not a detection"):
        Detected.from_json({"static": "."})

"""agent/build_plan.py: the commands of each kind of build, as argument lists, and the keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.build_plan import BuildRequest, Kept, checkout_key, dependency_key, is_setting, package_settings, plan
from agent.detect import Detected
from agent.errors import BuildError
from tests.agent.building import BASE, COMMIT, NODE, PYTHON, TREE, request

SCRATCH = Path("/scratch")


def lines(asked: BuildRequest, kept: Kept | None = None) -> list[str]:
    """The plan as lines, without the copying of the source, and with short names for the long ones."""
    venv = str(asked.venv) if "python" in asked.detected.parts else "no venv"
    steps = plan(asked, SCRATCH, kept or Kept())[1:]
    return [" ".join(step.argv).replace(venv, "VENV").replace(str(asked.checkout), "HERE") for step in steps]


PIP = "install --no-input --disable-pip-version-check --no-warn-script-location"
BYTECODE = r"VENV/bin/python -m compileall -q -x (^|/)(\.venv|node_modules|\.git)/ ."
QUIET = "--no-audit --no-fund"


@pytest.mark.parametrize(
    ("detected", "more", "expected"),
    [
        (Detected(("static",), static="."), {}, []),
        (
            PYTHON,
            {},
            [
                "python3 -m venv --without-pip VENV",
                f"/usr/bin/python3 -m pip --python VENV/bin/python {PIP} -r requirements.txt",
                BYTECODE,
            ],
        ),
        (
            replace(PYTHON, requirements="pyproject.toml"),
            {},
            [
                "python3 -m venv --without-pip VENV",
                "cp -a --reflink=auto . /scratch/project",
                f"/usr/bin/python3 -m pip --python VENV/bin/python {PIP} /scratch/project",
                BYTECODE,
            ],
        ),
        (
            replace(PYTHON, python="3.12", hooks=("bin/post_compile",)),
            {"base": replace(BASE, pythons=("3.11", "3.12"))},
            [
                "python3.12 -m venv VENV",
                f"VENV/bin/python -m pip {PIP} -r requirements.txt",
                "/bin/sh -c chmod +x bin/post_compile && exec bin/post_compile",
                BYTECODE,
            ],
        ),
        (NODE, {}, [f"npm ci --omit=dev {QUIET}"]),
        (replace(NODE, scripts=("start", "test")), {}, [f"npm ci --omit=dev {QUIET}"]),
        (
            replace(NODE, scripts=("build", "heroku-cleanup", "heroku-prebuild")),
            {},
            [
                "npm run heroku-prebuild",
                f"npm ci --include=dev {QUIET}",
                "npm run build",
                f"npm prune --omit=dev --ignore-scripts {QUIET}",
                "npm run heroku-cleanup",
            ],
        ),
        (
            replace(NODE, scripts=("build", "heroku-postbuild")),
            {},
            [
                f"npm ci --include=dev {QUIET}",
                "npm run heroku-postbuild",
                f"npm prune --omit=dev --ignore-scripts {QUIET}",
            ],
        ),
        (
            replace(NODE, scripts=("prepare",)),
            {},
            [f"npm ci --include=dev {QUIET}", f"npm prune --omit=dev --ignore-scripts {QUIET}"],
        ),
        (Detected(("command",)), {"command": "make all && ./x $HOME"}, ["/bin/bash -c make all && ./x $HOME"]),
    ],
    ids=["static", "python", "project", "python3.12", "node", "start", "scripts", "heroku", "prepare", "command"],
)
def test_the_plan_of_each_kind_of_build(detected: Detected, more: dict[str, object], expected: list[str]) -> None:
    assert lines(request(detected, **more)) == expected


def test_node_is_built_before_python() -> None:
    both = replace(PYTHON, parts=("node", "python"), node_inputs=NODE.node_inputs)
    assert [line.split()[0] for line in lines(request(both))] == [
        "npm",
        "python3",
        "/usr/bin/python3",
        "VENV/bin/python",
    ]


def test_a_directory_is_copied_and_a_tar_file_unpacked() -> None:
    static = Detected(("static",), static=".")
    copied = plan(request(static), SCRATCH, Kept())[0]
    assert copied.argv == (
        "cp",
        "-a",
        "--no-preserve=ownership",
        "--reflink=auto",
        "/source/.",
        f"/srv/bakeboot/web/{COMMIT}",
    )
    unpacked = plan(request(static, source=Path("/run/web.tar")), SCRATCH, Kept())[0]
    assert unpacked.argv == ("tar", "-x", "--no-same-owner", "-f", "-", "-C", f"/srv/bakeboot/web/{COMMIT}")
    assert unpacked.stdin == Path("/run/web.tar")


def test_what_an_earlier_build_left_is_not_made_again() -> None:
    assert lines(request(PYTHON), Kept(venv_complete=True)) == [BYTECODE]
    reused = lines(request(PYTHON), Kept(dependencies=Path("/old/deps-1")))
    assert reused == ["cp -a --reflink=auto /old/deps-1/venv VENV", BYTECODE]
    assert lines(request(NODE), Kept(modules=Path("/old/c/node_modules"))) == [
        "cp -aT --reflink=auto /old/c/node_modules HERE/node_modules"
    ]


def test_a_build_sees_the_settings_and_nothing_of_ours() -> None:
    asked = request(replace(NODE, node="20"), settings={"NPM_CONFIG_USERCONFIG": "/run/npmrc", "PATH": "/evil"})
    assert dict(plan(asked, SCRATCH, Kept())[1].env) == {
        "NPM_CONFIG_USERCONFIG": "/run/npmrc",
        "PATH": "/opt/bakeboot/runtimes/node-20/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/scratch/home",
        "TMPDIR": "/scratch/tmp",
        "LANG": "C.UTF-8",
        "NODE_ENV": "production",
        "npm_config_nodedir": "/opt/bakeboot/runtimes/node-20",
    }
    assert plan(request(NODE, settings={"PIP_INDEX_URL": "x"}), SCRATCH, Kept())[0].env.keys() == {
        "PATH", "HOME", "TMPDIR", "LANG",
    }  # fmt: skip


def test_a_python_that_the_base_lacks_is_told_with_those_it_has() -> None:
    with pytest.raises(BuildError, match=r"web: asks for Python 3\.12; to be had on this base: 3\.11"):
        plan(request(replace(PYTHON, python="3.12")), SCRATCH, Kept())


def test_a_base_without_node_is_told() -> None:
    with pytest.raises(BuildError, match='apt_packages = \\["nodejs", "npm"\\]'):
        plan(request(NODE, base=replace(BASE, node=None)), SCRATCH, Kept())


@pytest.mark.parametrize(
    ("name", "handed_over"),
    [
        ("PIP_INDEX_URL", True),
        ("PIP_FIND_LINKS", True),
        ("NPM_CONFIG_REGISTRY", True),
        ("npm_config_cafile", True),
        ("https_proxy", True),
        ("NO_PROXY", True),
        ("NODE_EXTRA_CA_CERTS", True),
        ("REQUESTS_CA_BUNDLE", True),
        ("PIP_TARGET", False),
        ("PIP_USER", False),
        ("npm_config_prefix", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("LD_PRELOAD", False),
        ("PIP_\n", False),
        ("", False),
    ],
)
def test_only_package_settings_are_handed_to_a_build(name: str, handed_over: bool) -> None:
    assert is_setting(name) is handed_over
    assert package_settings({name: "x"}) == ({name: "x"} if handed_over else {})


def test_a_dependency_key_hangs_on_inputs_and_abi_alone() -> None:
    key = dependency_key("python", PYTHON, "abi", TREE, COMMIT)
    assert len(key) == 16
    assert key == dependency_key("python", PYTHON, "abi", "8" * 40, "d" * 40)
    assert key != dependency_key("python", PYTHON, "other", TREE, COMMIT)
    assert key != dependency_key(
        "python", replace(PYTHON, python_inputs={"requirements.txt": "ab"}), "abi", TREE, COMMIT
    )


def test_dependencies_in_the_tree_make_the_tree_count() -> None:
    local = replace(PYTHON, python_local=True)
    assert dependency_key("python", local, "abi", TREE, COMMIT) != dependency_key(
        "python", local, "abi", "8" * 40, COMMIT
    )
    assert dependency_key("python", local, "abi", TREE, COMMIT) != dependency_key(
        "python", local, "abi", TREE, "d" * 40
    )
    project = replace(local, requirements="pyproject.toml")
    assert dependency_key("python", project, "abi", TREE, COMMIT) == dependency_key(
        "python", project, "abi", TREE, "d" * 40
    )


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "d" * 40},
        {"tree": "8" * 40},
        {"processes": {"web": "x"}},
        {"command": "make"},
        {"detected": replace(PYTHON, static="out")},
        {"detected": replace(PYTHON, python="3.12")},
        {"detected": replace(PYTHON, scripts=("build",))},
        {"base": replace(BASE, abi="debian-13-x86_64")},
        {"base": replace(BASE, python="3.13.1")},
    ],
    ids=str,
)
def test_a_checkout_key_hangs_on_all_that_decides_the_checkout(change: dict[str, object]) -> None:
    other = replace(request(PYTHON), **change)  # type: ignore[arg-type]
    assert checkout_key(request(PYTHON)) != checkout_key(other)


def test_a_checkout_key_ignores_where_packages_come_from_and_patch_releases() -> None:
    same = request(PYTHON, settings={"PIP_INDEX_URL": "x"}, source=Path("/else"), base=replace(BASE, python="3.11.9"))
    assert checkout_key(request(PYTHON)) == checkout_key(same)

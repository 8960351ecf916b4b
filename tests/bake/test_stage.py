"""The payload of a stage, one archive; and what it may not have left."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from agent.errors import BuildError
from agent.seal import seal
from bake.stage import AGENT, PACKER, Stage, _refuse_leftovers, as_json, pack
from tests.bake.planning import a_tree


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        assert not [member.name for member in tar if member.issym() or member.islnk()]
        return {
            member.name: file.read()
            for member in tar
            if member.isreg() and (file := tar.extractfile(member)) is not None
        }


def test_texts_files_and_folders_go_in_whole(tmp_path: Path) -> None:
    folder = a_tree(tmp_path / "agent", {"a.py": "1", "sub/b.py": "2", "__pycache__/a.pyc": "x"})
    (tmp_path / "key.gpg").write_bytes(b"\xff\0")
    payload: dict[str, str | Path] = {
        "packages": "jq\n",
        "lib/agent": folder,
        "lib/launcher": "x",
        "apt/key.gpg": tmp_path / "key.gpg",
    }
    packed = pack(payload, tmp_path / "payload.tar")
    assert members(packed) == {
        "./packages": b"jq\n",
        "./lib/agent/a.py": b"1",
        "./lib/agent/sub/b.py": b"2",
        "./lib/launcher": b"x",
        "./apt/key.gpg": b"\xff\0",
    }
    assert not (tmp_path / "payload").exists()


def test_what_a_stage_needs_is_beside_the_package() -> None:
    assert (PACKER / "machine.pkr.hcl").is_file()
    assert (AGENT / "launcher.py").is_file()


def test_json_is_the_same_for_the_same() -> None:
    assert as_json({"b": 1, "a": 2}) == as_json({"a": 2, "b": 1})
    assert json.loads(as_json({"a": [1]})) == {"a": [1]}


@pytest.mark.parametrize("stage", [Stage("system", (), {}), Stage("image", (), {})], ids=lambda stage: stage.name)
@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("etc/shadow", "root:*:1::::::\nguest::1::::::\n", "/etc/shadow: guest has an empty password"),
        ("etc/shadow", "guest:$y$x:1::::::\n", "/etc/shadow: guest has a password"),
        (
            "etc/apt/sources.list.d/x.list",
            "deb https://me:word@example.org ./\n",
            "/etc/apt/sources.list.d/x.list: a password in an apt source",
        ),
    ],
    ids=["an empty password", "a password", "an apt source"],
)
def test_what_no_sealing_puts_right_ends_either_stage(
    tmp_path: Path, stage: Stage, path: str, text: str, what: str
) -> None:
    upper = a_tree(tmp_path / "upper", {path: text})
    seal(upper)
    with pytest.raises(BuildError) as told:
        _refuse_leftovers(upper, stage)
    assert told.value.where == f"stage {stage.name}"
    assert told.value.what.splitlines()[1:] == [f"  {what}"]
    assert "word" not in told.value.what.replace("password", "")


@pytest.mark.parametrize("files", [{"etc/hosts": ""}, {"etc/shadow": "root:*:1::::::\n", "root/.bash_history": "x"}])
def test_a_sealed_folder_that_is_only_a_part_of_an_image_is_fit(tmp_path: Path, files: dict[str, str]) -> None:
    upper = a_tree(tmp_path / "upper", files)
    seal(upper)
    _refuse_leftovers(upper, Stage("image", (), {}))

"""Bakes that must not end in an image that counts: what is said, what is kept, what can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import BuildError, ImageError, StackError, VerifyError
from bake.images import Image
from tests.system.bakery import Bakery, TinyStack

Break = Callable[[TinyStack], object]


@pytest.fixture
def stack(tiny: TinyStack, tiny_image: Image, tmp_path: Path) -> TinyStack:
    return tiny.copy(tmp_path / "stack")


def failed_bake(bakery: Bakery, stack: TinyStack) -> tuple[Image, str]:
    """A bake of the stack whose image fails; the image, and what was said."""
    done = bakery.run("bake", "--update-all", cwd=stack.folder, code=VerifyError.exit_code)
    image = bakery.store.all()[-1]
    assert image.state == "failed"
    assert image.name in done.stderr
    return image, done.stdout + done.stderr


def assert_kept_but_not_chosen(bakery: Bakery, image: Image, *, reason: str) -> None:
    listed = {one["name"]: one for one in bakery.json("images", "list")}
    assert listed[image.name]["state"] == "failed"
    assert reason in listed[image.name]["reason"]
    assert (image.folder / "bake.log").stat().st_size > 0
    assert (image.folder / "verify.log").stat().st_size > 0
    newest = bakery.json("images", "show")
    assert newest["name"] != image.name
    assert newest["state"] == "verified"


def test_an_image_whose_health_check_answers_500_is_kept_as_failed_and_can_be_looked_at(
    bakery: Bakery, stack: TinyStack
) -> None:
    stack.hello.commit({"answer": "500"})
    image, said = failed_bake(bakery, stack)
    assert "hello" in said
    assert "500" in said
    assert f"bakeboot boot {image.name} --mode review --shell" in said
    assert_kept_but_not_chosen(bakery, image, reason="500")
    assert "=== review" in (image.folder / "verify.log").read_text()

    # As the hint says: the shell is there although the machine did not become ready.
    look = bakery.run(
        "boot", image.name, "--mode", "review", "--shell", stdin="agent explain; hostname; exit 7\n", code=7
    )
    assert "500" in look.stdout
    assert "This is i-" in look.stdout
    assert "\nreview\n" in look.stdout
    assert "getcwd" not in look.stderr


def test_an_image_whose_service_crashes_is_kept_as_failed(bakery: Bakery, stack: TinyStack) -> None:
    stack.ticker.commit({"worker.py": "raise SystemExit('no more ticks')\n"})
    image, said = failed_bake(bakery, stack)
    assert "ticker" in said
    assert_kept_but_not_chosen(bakery, image, reason="ticker")
    assert "no more ticks" in (image.folder / "verify.log").read_text()


def test_an_image_that_fails_a_spec_of_the_stack_is_kept_as_failed(bakery: Bakery, stack: TinyStack) -> None:
    specs = stack.folder / "image_tests"
    specs.mkdir()
    (specs / "test_wishes.py").write_text(
        "def test_the_machine_has_a_unicorn(host):\n    assert host.file('/etc/unicorn').exists\n"
        "def test_the_machine_has_a_name(host):\n    assert host.check_output('hostname')\n"
    )
    image, said = failed_bake(bakery, stack)
    assert "test_the_machine_has_a_unicorn" in said
    assert "test_the_machine_has_a_name" not in said
    assert_kept_but_not_chosen(bakery, image, reason="unicorn")


def test_a_repo_that_does_not_build_ends_the_bake_with_its_last_lines_and_no_image(
    bakery: Bakery, stack: TinyStack
) -> None:
    stack.ticker.commit({"build.sh": "echo before the end\necho the anvil is missing >&2\nexit 9\n"})
    images = {image.name for image in bakery.store.all()}
    logs = set(bakery.home.logs.glob("*.log"))
    done = bakery.run("bake", "--update-all", cwd=stack.folder, code=BuildError.exit_code)
    assert "the anvil is missing" in done.stderr
    assert "ticker" in done.stderr
    assert "exit code 9" in done.stderr
    assert "bakeboot bake" in done.stderr
    (log,) = set(bakery.home.logs.glob("*.log")) - logs
    assert str(log) in done.stderr
    assert "before the end" in log.read_text()
    assert {image.name for image in bakery.store.all()} == images

    stack.ticker.commit({"build.sh": "echo mended >built\n"})
    image, _ = bakery.bake(stack.folder, "--update", "ticker")
    assert image.state == "verified"


def test_a_python_that_is_not_to_be_had_stops_the_bake_and_says_which_are(bakery: Bakery, stack: TinyStack) -> None:
    stack.hello.commit({".python-version": "3.12\n"})
    images = {image.name for image in bakery.store.all()}
    done = bakery.run("bake", "--update-all", cwd=stack.folder, code=None)
    assert done.returncode in (StackError.exit_code, BuildError.exit_code)
    assert "hello" in done.stderr
    assert "3.12" in done.stderr
    assert "3.11" in done.stderr
    assert {image.name for image in bakery.store.all()} == images


def test_an_image_that_is_not_there_is_told_with_its_exit_code(bakery: Bakery) -> None:
    done = bakery.run("images", "show", "no-such-image", code=ImageError.exit_code)
    assert "no image 'no-such-image'" in done.stderr
    assert "bakeboot images list" in done.stderr

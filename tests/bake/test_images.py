"""The registry of images: names that are taken once, states, and what dead bakes leave."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.errors import ImageError
from bake.images import Image, ImageStore, layer_ids
from tests.bake.planning import a_home, a_layer, an_image, manifest

ROOT = Path(__file__).resolve().parents[2]
NOON = "2026-11-23T12:00:00Z"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(a_home(tmp_path))


def names(store: ImageStore) -> list[str]:
    return [image.name for image in store.all()]


def test_names_count_up_by_stack_and_day(store: ImageStore) -> None:
    taken = [an_image(store, [], stack=stack, day=day).name for stack, day in [("shop", "23")] * 10]
    assert taken[-1] == "shop-2026-11-23.10"
    assert an_image(store, [], day="24").name == "shop-2026-11-24.1"
    assert an_image(store, [], stack="shop-eu").name == "shop-eu-2026-11-23.1"
    assert an_image(store, []).name == "shop-2026-11-23.11"
    assert names(store)[-3:] == ["shop-2026-11-23.10", "shop-2026-11-23.11", "shop-2026-11-24.1"]


def test_two_at_once_have_two_names(store: ImageStore) -> None:
    with (
        store.reserve("shop", time=NOON, build="bake-1") as one,
        store.reserve("shop", time=NOON, build="bake-2") as other,
    ):
        assert {one.name, other.name} == {"shop-2026-11-23.1", "shop-2026-11-23.2"}


def test_many_threads_at_once_have_many_names(store: ImageStore) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def reserve() -> None:
        together.wait()
        with store.reserve("shop", time=NOON, build="bake") as image:
            found.append(image.name)
            together.wait()

    threads = [threading.Thread(target=reserve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8
    assert names(store) == []


@pytest.mark.parametrize("error", [ImageError("broke"), KeyboardInterrupt(), OSError(28, "full")])
def test_a_block_that_fails_gives_the_name_back(store: ImageStore, error: BaseException) -> None:
    with pytest.raises(type(error)), store.reserve("shop", time=NOON, build="bake-1"):
        raise error
    assert list(store.home.images.glob("[!.]*")) == []
    assert an_image(store, []).name == "shop-2026-11-23.1"


def test_a_reservation_whose_record_was_lost_does_not_hide_the_error(store: ImageStore) -> None:
    def breaks(image: Image) -> None:
        (image.folder / "record.json").write_text("")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), store.reserve("shop", time=NOON, build="bake-1") as image:
        breaks(image)
    assert names(store) == []


def test_an_image_that_was_built_outlives_a_failing_block(store: ImageStore) -> None:
    def breaks(image: Image) -> None:
        store.built(image, [], manifest().render())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.reserve("shop", time=NOON, build="bake-1") as image:
        breaks(image)
    assert store.get(image.name).state == "built"


def test_built_and_judged_are_kept(store: ImageStore, tmp_path: Path) -> None:
    layers = [a_layer(store, tmp_path, "base"), a_layer(store, tmp_path, "top")]
    image = an_image(store, layers, "failed")
    again = ImageStore(store.home).get(image.name)
    assert (again.state, again.reason, again.layers) == ("failed", "it broke", tuple(layer.id for layer in layers))
    assert again.digest.startswith("sha256:")
    assert again.manifest().name == image.name
    assert store.roots(again) == tuple(layer.root for layer in layers)
    assert layer_ids([again]) == set(again.layers)


def test_the_digest_is_of_the_layers_in_their_order(store: ImageStore, tmp_path: Path) -> None:
    one, other = a_layer(store, tmp_path, "one"), a_layer(store, tmp_path, "other")
    digests = [an_image(store, layers).digest for layers in ([one, other], [one, other], [other, one])]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("word", "stack", "found"),
    [
        ("latest", None, "shop-2026-11-24.1"),
        ("latest", "store", "store-2026-11-23.1"),
        ("shop-2026-11-23.1", None, "shop-2026-11-23.1"),
        ("2026-11-24.2", None, "shop-2026-11-24.2"),
        ("2026-11-23.1", "shop", "shop-2026-11-23.1"),
    ],
)
def test_a_word_finds_an_image(store: ImageStore, word: str, stack: str | None, found: str) -> None:
    three_and_one(store)
    assert store.find(word, stack=stack).name == found


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("2026-11-23.1", "several images fit: shop-2026-11-23.1, store-2026-11-23.1"),
        ("nosuch", "no image 'nosuch'"),
        ("3.1", "no image"),
        (".1", "no image"),
        ("../images/shop-2026-11-23.1", "no image"),
        ("", "no image"),
    ],
)
def test_a_word_that_finds_none_or_several_is_told(store: ImageStore, word: str, what: str) -> None:
    three_and_one(store)
    with pytest.raises(ImageError, match=what) as told:
        store.find(word)
    assert told.value.hint


def three_and_one(store: ImageStore) -> None:
    an_image(store, [])
    an_image(store, [], day="24")
    an_image(store, [], "failed", day="24")
    an_image(store, [], stack="store")


def test_latest_of_nothing_says_to_bake(store: ImageStore) -> None:
    an_image(store, [], "failed")
    with pytest.raises(ImageError, match="no verified image yet"):
        store.find("latest")
    assert store.newest_verified("shop") is None


def test_the_manifest_of_a_baking_image_is_not_there_yet(store: ImageStore) -> None:
    with (
        store.reserve("shop", time=NOON, build="bake-1") as image,
        pytest.raises(ImageError, match="not built yet"),
    ):
        image.manifest()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"name": "x"}', '{"layers": 1}'])
def test_a_broken_record_is_listed_as_such_and_in_nobodys_way(store: ImageStore, record: str) -> None:
    broken, whole = an_image(store, []), an_image(store, [])
    (broken.folder / "record.json").write_text(record)
    assert [(image.name, image.state) for image in store.all()] == [
        (broken.name, "unreadable"),
        (whole.name, "verified"),
    ]
    assert store.get(broken.name).stack == "shop"
    assert store.find("latest") == whole
    assert store.sweep() == []


def test_what_is_no_image_is_let_be(store: ImageStore) -> None:
    for name in ("lost+found", "shop-notes", ".doomed-1", "shop-2026-11-23.x"):
        (store.home.images / name).mkdir()
    (store.home.images / "shop-2026-11-23.7").write_text("a file")
    assert names(store) == []
    assert an_image(store, []).name == "shop-2026-11-23.1"


def test_a_removed_image_is_gone(store: ImageStore) -> None:
    image = an_image(store, [])
    store.remove(image)
    with pytest.raises(ImageError, match="no image"):
        store.get(image.name)
    assert [entry.name for entry in store.home.images.iterdir()] == [".lock"]


# --- sweep ------------------------------------------------------------------------------------------------------------


def test_a_living_bake_is_not_swept(store: ImageStore) -> None:
    with store.reserve("shop", time=NOON, build="bake-1") as image:
        assert store.sweep() == []
        store.built(image, [], manifest().render())
        assert store.sweep() == []
        store.judged(image, "verified")


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("step", "left"),
    [("", []), ("store.built(image, [], manifest().render())", [("shop-2026-11-23.1", "failed")])],
    ids=["baking", "built"],
)
def test_what_a_killed_bake_left_is_swept(store: ImageStore, step: str, left: list[tuple[str, str]]) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.bake.planning import *\n"
        "store = ImageStore(Home(Path(sys.argv[1]), Path('/run/x')))\n"
        "with store.reserve('shop', time='2026-11-23T12:00:00Z', build='bake-1') as image:\n"
        f"    {step or 'pass'}\n"
        "    print(image.name, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(store.home.root)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert store.sweep() == []
        other.kill()
    assert store.sweep() == [name]
    assert [(image.name, image.state) for image in store.all()] == left
    assert store.sweep() == []


def test_a_folder_of_a_bake_that_died_before_its_record_is_swept(store: ImageStore) -> None:
    (store.home.images / "shop-2026-11-23.1").mkdir()
    a_removal_cut_short = store.home.images / ".doomed-1"
    a_removal_cut_short.mkdir()
    assert store.sweep() == ["shop-2026-11-23.1"]
    assert names(store) == []
    assert not a_removal_cut_short.exists()


def test_images_have_no_secret_and_no_path_in_their_record(store: ImageStore) -> None:
    image: Image = an_image(store, [])
    assert str(store.home.root) not in (image.folder / "record.json").read_text()

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.boot import run
from agent.doors import Doors
from agent.envfile import parse
from agent.image import ImageManifest
from agent.state import Status
from agent.systemd import Systemd
from tests.agent.fake_imds import INSTANCE, FakeImds, instance, say
from tests.agent.test_image import GOLDEN
from tests.agent.test_state import places as make_places

IMAGE = ImageManifest.read(str(GOLDEN))
ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = "DATABASE_URL=postgres://x\nREDIS_URL=redis://x\n"


def tags(**named: str) -> dict[str, str]:
    return {f"bakeboot:{name}": value for name, value in ({"stack": "shop"} | named).items()}


WORKER = tags(mode="production", service="orders-worker", release="v007")


class Machine:
    """A machine in a directory, whose systemd starts all that it is told to."""

    def __init__(self, root: Path, given: dict[str, str] | None = None) -> None:
        self.imds = FakeImds(instance(given))
        self.places = make_places(root)
        self.started: list[list[str]] = []
        self.status_at_start: list[dict[str, Any]] = []
        self.refuses = ""
        image = json.loads(GOLDEN.read_text())
        image["services"]["orders-worker"]["check"] = None
        Path(self.places.image).write_text(json.dumps(image))
        for name, repo in IMAGE.repos.items():
            folder = root / "srv/bakeboot" / name / "current/.bakeboot"
            folder.mkdir(parents=True)
            (folder / "checkout.json").write_text(json.dumps({"commit": repo.commit}))

    def configure(self, text: str, name: str = "_all") -> None:
        path = Path(self.places.config_file(name))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def boot(self) -> int:
        time = self.imds.time
        return run(
            Doors(
                places=self.places,
                systemd=Systemd(self._systemctl),
                status=Status(self.places, lambda: 0.0),
                connect=self.imds.connect,
                monotonic=time.monotonic,
                clock=lambda: 0.0,
                since_boot=lambda: 0.0,
                sleep=time.sleep,
            )
        )

    def _systemctl(self, arguments: list[str]) -> tuple[int, str]:
        units = arguments[arguments.index("--") + 1 :]
        if arguments[0] == "show":
            blocks = (
                f"Id={u}\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n" for u in units
            )
            return 0, "\n".join(blocks)
        assert arguments[:2] == ["start", "--no-block"]
        self.status_at_start.append(self.status())
        self.started.append(units)
        return (1, self.refuses) if self.refuses else (0, "")

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(Path(self.places.status).read_text())
        return facts


def test_a_production_machine_starts_its_one_service(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    assert machine.boot() == 0
    assert machine.started == [["bakeboot-svc-orders-worker.service"]]
    status = machine.status()
    assert (status["phase"], status["instance_id"], status["image"]) == ("ready", INSTANCE, IMAGE.name)
    assert status["assignment"] == {"mode": "production", "service": "orders-worker", "release": "v007"}
    assert status["units"] == ["bakeboot-svc-orders-worker.service"]
    assert set(status["timings"]) == {"requests", "queued_ms", "queued_cpu_ms", "ready_ms"}


def test_it_takes_at_most_ten_requests(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    machine.boot()
    assert len(machine.imds.log) == machine.status()["timings"]["requests"] == 7


def test_the_environment_is_a_file_for_root_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    machine.configure('SECRET="two\nlines"\n', "orders-worker")
    machine.boot()
    path = Path(machine.places.env_file("orders-worker"))
    assert path.stat().st_mode & 0o777 == 0o600
    found = parse(path.read_text())
    assert (found["SECRET"], found["DATABASE_URL"], found["BAKEBOOT_COMMIT"]) == (
        "two\nlines",
        "postgres://x",
        "a" * 40,
    )
    assert list(path.parent.iterdir()) == [path]


def test_no_secret_is_in_the_status(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG + "SECRET=hidden-value\n")
    machine.boot()
    assert "hidden-value" not in Path(machine.places.status).read_text()


def test_what_will_run_is_written_down_before_it_is_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    machine.boot()
    assert [status["units"] for status in machine.status_at_start] == machine.started


def test_a_build_machine_is_idle(tmp_path: Path) -> None:
    machine = Machine(tmp_path, tags(mode="bake"))
    assert (machine.boot(), machine.started, machine.status()["phase"]) == (0, [], "idle")


@pytest.mark.parametrize(
    ("given", "exit_code", "told"),
    [
        ({}, 22, "tag bakeboot:stack: missing"),
        (None, 21, "InstanceMetadataTags is off"),
        (tags(), 22, "tag bakeboot:mode: missing"),
        (tags(mode="prod"), 22, "tag bakeboot:mode: expected one of"),
        (tags(mode="production"), 22, "tag bakeboot:service: missing"),
        (tags(mode="production", service="x"), 22, "has no service 'x'"),
        (tags(mode="review", service="storefront"), 22, "takes no such tag"),
        (tags(mode="review", stack="other"), 22, "an image of the stack shop"),
        (tags(mode="production", service="orders-worker"), 23, "DATABASE_URL has no value"),
        (tags(mode="review"), 23, "STRIPE_KEY has no value"),
    ],
)
def test_without_a_valid_assignment_nothing_runs_and_it_says_why(
    tmp_path: Path, given: dict[str, str] | None, exit_code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, given)
    assert machine.boot() == exit_code
    assert machine.started == []
    status = machine.status()
    assert (status["phase"], status["exit_code"], status["units"]) == ("failed", exit_code, [])
    assert told in status["reason"]
    assert status["hint"]
    assert told in capsys.readouterr().err


def test_metadata_that_is_turned_off_ends_it_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.imds.plan = [say(403)]
    assert (machine.boot(), machine.started, machine.imds.time.slept) == (21, [], [])


def test_metadata_out_of_reach_ends_within_its_budget(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.imds.refuse = [ConnectionRefusedError(111, "Connection refused")] * 1000
    assert (machine.boot(), machine.started) == (20, [])
    assert machine.imds.time.now - 100 <= IMAGE.boot.metadata_wait


def test_an_image_that_can_not_be_read_runs_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    Path(machine.places.image).write_text("{}")
    assert (machine.boot(), machine.started) == (14, [])


def test_an_instance_id_that_is_none_runs_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.imds.values["meta-data/instance-id"] = "../../../etc"
    assert (machine.boot(), machine.started) == (20, [])


def test_a_unit_that_systemd_does_not_take_fails_the_boot(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    machine.refuses = "Unit is masked."
    assert machine.boot() == 24
    assert "Unit is masked." in machine.status()["reason"]


def test_a_boot_may_come_twice(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    assert [machine.boot(), machine.boot()] == [0, 0]
    assert machine.status()["phase"] == "ready"


def test_after_wrong_tags_are_set_right_a_second_boot_takes_them(tmp_path: Path) -> None:
    machine = Machine(tmp_path, tags(mode="prod"))
    machine.configure(CONFIG)
    assert machine.boot() == 22
    machine.imds.values = instance(WORKER)
    assert machine.boot() == 0


@pytest.mark.parametrize("between", [None, "metadata lost"])
def test_what_runs_as_one_thing_becomes_no_other_without_a_reboot(tmp_path: Path, between: str | None) -> None:
    machine = Machine(tmp_path, WORKER)
    machine.configure(CONFIG)
    machine.boot()
    if between:
        machine.imds.plan = [say(403)]
        assert machine.boot() == 21
    machine.imds.values = instance(tags(mode="production", service="storefront"))
    assert machine.boot() == 22
    status = machine.status()
    assert "its tags now say production storefront" in status["reason"]
    assert status["hint"].startswith("reboot")
    assert (len(machine.started), status["units"]) == (1, ["bakeboot-svc-orders-worker.service"])


def test_a_bug_of_ours_is_told_and_raised(tmp_path: Path) -> None:
    machine = Machine(tmp_path, WORKER)

    def broken(_: float) -> Any:
        raise KeyError("oops")

    connect: Callable[[float], Any] = broken
    machine.imds.connect = connect  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyError):
        machine.boot()
    assert (machine.status()["phase"], machine.status()["exit_code"]) == ("failed", 1)


FAST_PATH = """
import sys
sys.path.insert(0, sys.argv[1])
import agent.boot as boot
from agent.doors import Doors
from agent.image import ImageManifest
from agent.state import Places, Status
from agent.systemd import Systemd

values = {"token": "t", "instance-id": "i-0123456789abcdef0",
    "instance": "bakeboot:stack\\nbakeboot:mode\\nbakeboot:service", "bakeboot:stack": "shop",
    "bakeboot:mode": "production", "bakeboot:service": "orders-worker"}

class Connection:
    def settimeout(self, seconds): pass
    def sendall(self, data): self.body = values[data.split()[1].decode().split("/")[-1]].encode()
    def recv(self, size): return b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(self.body) + self.body
    def close(self): pass

def systemctl(arguments):
    print("\\n".join(sorted(sys.modules)))
    raise SystemExit(arguments[0] != "start")

places = Places.under(sys.argv[2])
boot.run(Doors(places=places, systemd=Systemd(systemctl), status=Status(places, lambda: 0.0),
    connect=lambda seconds: Connection(), monotonic=lambda: 0.0, clock=lambda: 0.0, since_boot=lambda: 0.0, sleep=None))
"""

JSON = {"json", "json.decoder", "json.encoder", "json.scanner", "_json"}
REGULAR_EXPRESSIONS = {
    "re", "re._casefix", "re._compiler", "re._constants", "re._parser", "_sre", "enum", "types", "functools",
    "_functools", "collections", "_collections", "_collections_abc", "operator", "_operator", "keyword", "reprlib",
    "itertools", "copyreg",
}  # fmt: skip
"""What ``json`` brings with it."""
SYSTEM = {"_socket", "fcntl", "os", "os.path", "posixpath", "genericpath", "stat", "_stat", "time", "posix"}
AGENT = {
    "agent", "agent.assignment", "agent.boot", "agent.doors", "agent.envfile", "agent.environment", "agent.errors",
    "agent.image", "agent.imds", "agent.instance", "agent.names", "agent.state", "agent.systemd", "agent.tags",
    "agent.word",
}  # fmt: skip


@pytest.mark.subprocess
def test_until_units_are_queued_nothing_else_is_imported(tmp_path: Path) -> None:
    machine = Machine(tmp_path, None)
    machine.configure(CONFIG)
    python = ["/usr/bin/python3", "-S", "-E", "-s", "-c"]
    bare = subprocess.run([*python, "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    done = subprocess.run([*python, FAST_PATH, str(ROOT), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    imported = set(done.stdout.split()) - set(bare.stdout.split())
    assert imported - JSON - REGULAR_EXPRESSIONS - SYSTEM - AGENT == {"__future__"}
    assert imported >= AGENT


def test_the_launcher_needs_no_more_than_the_boot() -> None:
    text = (ROOT / "agent/launcher.py").read_text()
    top = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert top == ["from __future__ import annotations", "import sys"]
    assert sys.version_info >= (3, 11)

"""The agent's boot on real machines: real systemd, PostgreSQL, Redis and nginx, and a metadata service as EC2's."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from pathlib import Path

from agent.envfile import render
from agent.errors import ConfigError
from agent.unitfile import unitword
from tests.agent.hostile import HOSTILE, REFUSED
from tests.agent.test_envfile import SYNTAX
from tests.system.agent_machines import CONFIG, DATASTORES, SERVICES, Booted, Instances
from tests.system.bakery import MOST_EXPOSED, exposure

pytest_plugins = ("tests.system.agent_machines",)


# --- a review machine -------------------------------------------------------------------------------------------------


def test_a_review_machine_runs_everything_and_says_so(review: Booted) -> None:
    assert review.running() == {*SERVICES, *DATASTORES}
    status = review.agent("status", "--json")
    found = json.loads(status.stdout)
    assert (status.returncode, found["ready"], found["mode"]) == (0, True, "review")
    assert {unit["name"]: unit["answer"] for unit in found["units"]} == {
        "db": "", "queue": "", "web": "GET /healthz on port 8000: 200", "worker": "its check passes",
        "www": "GET / on port 8002: 200",
    }  # fmt: skip
    assert "so it runs all 3 services and 2 datastores of the image" in review.agent("explain").stdout
    assert review.machine.run(["systemctl", "is-system-running"], check=False).stdout.strip() == "running"


def test_the_boot_of_the_machine_does_not_wait_for_the_agent(review: Booted) -> None:
    reached, ready = (
        int(review.show(unit, "ActiveEnterTimestampMonotonic"))
        for unit in ("multi-user.target", "bakeboot-boot.service")
    )
    assert reached < ready


def test_it_asks_the_metadata_service_at_most_ten_times(review: Booted) -> None:
    assert len(review.site.metadata.requests(review.machine.address)) <= 10


def test_datastores_let_in_their_users_alone(review: Booted) -> None:
    web = review.environment()
    assert review.shell(f"psql -qAt '{web['DATABASE_URL']}' -c 'select current_user, session_user'") == "app_web|bb-web"
    assert review.shell(f"redis-cli -u '{web['REDIS_URL']}' --no-auth-warning set a b") == "OK"
    for refused in (
        "psql 'postgres://postgres@127.0.0.1/postgres' -w -c 'select 1'",
        "psql 'postgres://bb-web:wrong@127.0.0.1/app_web' -c 'select 1'",
        f"psql '{web['DATABASE_URL'].replace('app_web', 'postgres')}' -c 'create table t (n int)'",
        'test "$(redis-cli get a)" = b',
        f"redis-cli -u '{web['REDIS_URL']}' --no-auth-warning config set maxmemory 1 | grep -x OK",
        "setpriv --reuid bb-www --regid bb-www --clear-groups psql -h /run/bakeboot-data-db -U postgres -c 'select 1'",
    ):
        assert review.machine.run(["bash", "-c", refused], check=False).returncode != 0, refused


def test_what_one_service_made_the_others_of_its_repo_can_change(review: Booted) -> None:
    web, worker = review.environment("web"), review.environment("worker")
    review.shell(f"psql -q '{web['DATABASE_URL']}' -c 'create table made (n int); create extension pgcrypto'")
    review.shell(f"psql -q '{worker['DATABASE_URL']}' -c 'alter table made add m int; drop table made'")
    assert web["SECRET_KEY"] == worker["SECRET_KEY"]


def test_no_password_is_on_disk_in_a_log_or_in_an_argument(review: Booted) -> None:
    passwords = [name for users in json.loads(review.machine.read("/run/bakeboot/passwords.json")).values()
                 for name in users.values()]  # fmt: skip
    assert len(passwords) == 4
    written = subprocess.run(
        ["grep", "-rlaFf", "-", str(review.machine.upper)], input="\n".join(passwords), text=True, capture_output=True
    )
    assert (written.returncode, written.stdout) == (1, "")
    journal, arguments = review.journal("*"), review.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert not [password for password in passwords if password in journal or password in arguments]
    shown = review.shell("systemctl show bakeboot-svc-web.service bakeboot-data-queue.service")
    assert not [password for password in passwords if password in shown]


def test_a_static_site_is_served_without_what_is_ours(review: Booted) -> None:
    assert review.shell("curl -s localhost:8002/") == "<h1>www</h1>"
    for path in (".secret", ".bakeboot/checkout.json", "../.bakeboot/checkout.json", "nothing"):
        code = review.shell(f"curl -s --path-as-is -o /dev/null -w '%{{http_code}}' localhost:8002/{path}")
        assert code in ("400", "404"), path


def test_units_are_denied_what_they_do_not_need(review: Booted) -> None:
    for unit in (*SERVICES, *DATASTORES):
        assert exposure(review.machine, unit) <= MOST_EXPOSED, unit
    review.shell(f"systemd-analyze verify {' '.join((*SERVICES, *DATASTORES, 'bakeboot-boot.service'))}")


def test_a_service_can_write_to_its_own_data_and_nowhere_else(review: Booted) -> None:
    pid = review.show("bakeboot-svc-web.service", "MainPID")
    enter = f"nsenter --target {pid} --mount --setuid 61000 --setgid 61000"
    review.shell(f"{enter} touch /var/lib/bakeboot/data/web/upload /tmp/x")
    for path in ("/srv/bakeboot/shop/current/x", "/var/lib/bakeboot/data/worker/x", "/etc/x", "/run/bakeboot/x"):
        assert review.machine.run(["bash", "-c", f"{enter} touch {path}"], check=False).returncode != 0, path


def test_two_boots_at_once_wait_for_each_other_and_change_nothing(review: Booted) -> None:
    before = (review.show("bakeboot-svc-web.service", "MainPID"), review.environment())
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(review.agent("boot").returncode)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0], review.journal()
    assert (review.show("bakeboot-svc-web.service", "MainPID"), review.environment()) == before
    assert review.status()["phase"] == "ready"


# --- reboots ----------------------------------------------------------------------------------------------------------


def test_a_reboot_keeps_what_is_the_instance_s_and_another_instance_starts_afresh(
    instances: Instances, tmp_path: Path
) -> None:
    tags, upper = {"stack": "shop", "mode": "review"}, tmp_path / "upper"
    insert, count = "insert into orders values (41)", "select count(*) from orders where n = 41"
    with instances.start(tags) as first:
        assert first.wait()["phase"] == "ready", first.journal()
        before = first.environment()
        first.shell(f"psql -q '{before['DATABASE_URL']}' -c '{insert}'")
        first.machine.stop()
        first.machine.take_upper(upper)
    with instances.start(tags, above=(upper,)) as again:
        assert again.wait()["phase"] == "ready", again.journal()
        after = again.environment()
        assert after["SECRET_KEY"] == before["SECRET_KEY"]
        assert after["DATABASE_URL"] != before["DATABASE_URL"]
        assert again.shell(f"psql -qAt '{after['DATABASE_URL']}' -c '{count}'") == "1"
        assert "migrated" not in again.shell("journalctl -b -o cat -u bakeboot-boot.service")
    with instances.start(tags, above=(upper,), instance="i-0fedcba9876543210") as imaged:
        assert imaged.wait()["phase"] == "ready", imaged.journal()
        assert imaged.environment()["SECRET_KEY"] != before["SECRET_KEY"]
        assert "migrated as bb-web" in imaged.shell("journalctl -b -o cat -u bakeboot-boot.service")


# --- one service, its config ------------------------------------------------------------------------------------------


def test_a_production_machine_runs_one_service_with_its_config(instances: Instances) -> None:
    config = {"_all": render(CONFIG).encode(), "web": b"EXTRA=1\n"}
    with instances.start({"stack": "shop", "mode": "production", "service": "web"}, config=config) as booted:
        assert booted.wait()["phase"] == "ready", booted.journal()
        assert booted.running() == {"bakeboot-svc-web.service"}
        environment = booted.environment()
        assert {name: environment[name] for name in CONFIG} == CONFIG
        assert environment["EXTRA"] == "1"
        assert "a-secret-from-config" not in booted.shell(
            "systemctl show bakeboot-svc-web.service; cat /run/bakeboot/status.json"
        )
        assert booted.shell("ls /var/lib/bakeboot/i-*") == ""


def test_hostile_values_arrive_byte_for_byte(instances: Instances) -> None:
    values = {f"V{number}": value for number, value in enumerate(HOSTILE)}
    assert len(values) >= 200
    config = {"_all": render(CONFIG).encode(), "web": render(values).encode()}
    with instances.start({"stack": "shop", "mode": "staging", "service": "web"}, config=config) as booted:
        assert booted.wait()["phase"] == "ready", booted.journal()
        environment = booted.environment()
        assert {name: environment.get(name) for name in values} == values


SHOW_ENVIRONMENT = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(k+b'='+v for k, v in os.environb.items()))"


def systemd_reads(booted: Booted, text: bytes) -> dict[bytes, bytes]:
    """What a process has whose unit names an EnvironmentFile with ``text``."""
    (Path(f"/proc/{booted.machine.leader}/root/run") / "try.env").write_bytes(text)
    argv = ["systemd-run", "--quiet", "--wait", "--pipe", "--property=EnvironmentFile=/run/try.env"]
    shown = booted.machine.run(
        ["bash", "-c", '"$@" | base64', "x", *argv, "python3", "-S", "-c", SHOW_ENVIRONMENT], check=False
    )
    lines = base64.b64decode(shown.stdout).split(b"\0")
    return dict(tuple(line.split(b"=", 1)) for line in lines if b"=" in line)  # type: ignore[misc]


def test_our_reading_of_an_env_file_is_systemd_s(review: Booted) -> None:
    for text, variables in SYNTAX:
        found = systemd_reads(review, text.encode())
        ours = {name.encode(): value.encode() for name, value in variables.items()}
        assert {name: value for name, value in found.items() if name in (b"A", b"B", b"C")} == ours, text


def test_what_we_refuse_systemd_would_not_have_passed_on(review: Booted) -> None:
    for value in REFUSED:
        text = f'X1=1\nA="{value}"\n'.encode(errors="surrogatepass")
        assert systemd_reads(review, text).get(b"A") != value.encode(errors="surrogatepass"), ascii(value)[:20]


# --- what goes into a unit --------------------------------------------------------------------------------------------


def test_words_of_a_unit_reach_the_process_byte_for_byte(instances: Instances) -> None:
    words, quoted = [], []
    for value in HOSTILE:
        try:
            quoted.append(unitword(value))
            words.append(value)
        except ConfigError:
            continue
    short = [(word, text) for word, text in zip(words, quoted, strict=True) if len(word) < 200]
    assert len(short) > 80
    show = "import sys; open('/run/words', 'wb').write(b'\\0'.join(map(__import__('os').fsencode, sys.argv[1:])))"
    lines = f"ExecStart=/usr/bin/python3 -S -X utf8 -c {unitword(show)} {' '.join(text for _, text in short)}"
    unit = f"[Service]\nType=oneshot\nRemainAfterExit=yes\n{lines}\n"
    with instances.start(
        {"stack": "shop", "mode": "bake"}, units={"words.service": unit}, wants=("words.service",)
    ) as booted:
        booted.machine.wait_booted()
        found = booted.machine.read("/run/words").decode().split("\0")
        assert found == [word for word, _ in short]

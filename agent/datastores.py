"""The datastores of a self-contained machine: a user and a database for each service that needs one.

Passwords are made afresh at each boot and live in root's tmpfs alone. PostgreSQL gets them through
psql's standard input, over a socket that only postgres and root reach; Redis by a file of hashes that
systemd hands to it. What is pure is first, the door to psql last.
"""

from __future__ import annotations

import hashlib
import pwd
import subprocess
from collections.abc import Callable

from agent.errors import UnitError
from agent.image import POSTGRESQL, REDIS, Datastore, ImageManifest, Service

SHARED = "shared"
PSQL_SECONDS = 60

Passwords = dict[str, dict[str, str]]
"""By datastore, then by service."""


def users(datastore: Datastore, image: ImageManifest) -> tuple[Service, ...]:
    """The services that use ``datastore``, each with a user of its own there (the service's system user's name)."""
    return tuple(service for service in image.services.values() if datastore.name in service.needs)


def passwords(image: ImageManifest, known: Passwords, new: Callable[[], str]) -> Passwords:
    """A password for each user of each datastore: this boot's, where it has one already."""
    return {
        datastore.name: {
            service.name: known.get(datastore.name, {}).get(service.name) or new()
            for service in users(datastore, image)
        }
        for datastore in image.datastores.values()
    }


def urls(image: ImageManifest, secrets: Passwords) -> dict[str, dict[str, str]]:
    """The URL by service, then by datastore. The password is hexadecimal: a URL takes it as it is."""
    found: dict[str, dict[str, str]] = {name: {} for name in image.services}
    for datastore in image.datastores.values():
        scheme = "postgres" if datastore.kind == POSTGRESQL else "redis"
        for service in users(datastore, image):
            login = f"{service.user}:{secrets[datastore.name][service.name]}"
            where = f"127.0.0.1:{datastore.port}/{database(datastore, service, image)}"
            found[service.name][datastore.name] = f"{scheme}://{login}@{where}"
    return found


def owner(datastore: Datastore, service: Service, image: ImageManifest) -> str:
    """The service whose database it uses there: its own, or that of ``databases_of`` where that one needs it too."""
    other = service.databases_of
    return other if other is not None and datastore.name in image.services[other].needs else service.name


def database(datastore: Datastore, service: Service, image: ImageManifest) -> str:
    """That a service uses: ``app_<owner>`` in PostgreSQL (no service's name has an underscore, so it is nobody
    else's), an index in Redis: the owner's place among all services by name, from 1; 0 is the shared one.
    """
    if datastore.kind == REDIS:
        return "0" if datastore.shared else str(1 + sorted(image.services).index(owner(datastore, service, image)))
    return SHARED if datastore.shared else f"app_{owner(datastore, service, image)}"


def redis_users(datastore: Datastore, image: ImageManifest, secrets: Passwords) -> str:
    """The ACL file: a user for each service, as powerful as an application needs; nobody else comes in.

    Redis can't bind a user to a database index, so indices keep services apart only as long as they want to.
    """
    lines = ["user default off"]
    for service in users(datastore, image):
        digest = hashlib.sha256(secrets[datastore.name][service.name].encode()).hexdigest()
        # All of its own work; not what empties or swaps the databases of others, or ends their connections.
        may = "+@all -@admin -flushall -swapdb +client -client|kill -client|pause +config|get"
        lines.append(f"user {service.user} on #{digest} ~* &* {may}")
    return "\n".join(lines) + "\n"


def postgresql_script(datastore: Datastore, image: ImageManifest, secrets: Passwords) -> str:
    """What psql is given at each boot: databases and owners that lack, and every user's new password.

    A database belongs to a group; each service that uses it is a member, and acts as the group from its
    login on, so that what one of them creates, the others can change.
    """
    lines = [
        "SET log_statement = 'none';",
        "SET log_min_duration_statement = -1;",
        "SET log_min_error_statement = panic; -- a failed statement would be logged with its password",
    ]
    for group in dict.fromkeys(database(datastore, service, image) for service in users(datastore, image)):
        lines += [
            _unless("pg_roles", "rolname", group, f'CREATE ROLE "{group}" NOLOGIN'),
            _unless("pg_database", "datname", group, f'CREATE DATABASE "{group}" OWNER "{group}"'),
            f'REVOKE ALL ON DATABASE "{group}" FROM PUBLIC;',
        ]
    for service in users(datastore, image):
        group = database(datastore, service, image)
        lines += [
            _unless("pg_roles", "rolname", service.user, f'CREATE ROLE "{service.user}"'),
            f'GRANT "{group}" TO "{service.user}";',
            f'ALTER ROLE "{service.user}" SET role = "{group}";',
            f"ALTER ROLE \"{service.user}\" LOGIN PASSWORD '{secrets[datastore.name][service.name]}';",
        ]
    return "\n".join(lines) + "\n"


def _unless(table: str, column: str, name: str, statement: str) -> str:
    """``statement``, where no row of ``table`` has ``name``. Names are checked ones: no quote in them."""
    return f"SELECT '{statement}' WHERE NOT EXISTS (SELECT FROM {table} WHERE {column} = '{name}')\\gexec"  # noqa: S608  checked names


def create_databases(image: ImageManifest, secrets: Passwords) -> None:
    """Bring every PostgreSQL of this machine, already active, to what its services need.

    Raises UnitError with what psql said, without passwords.
    """
    for datastore in image.datastores.values():
        if datastore.kind == POSTGRESQL and users(datastore, image):
            _psql(datastore, postgresql_script(datastore, image, secrets))


def _psql(datastore: Datastore, script: str) -> None:
    try:
        postgres = pwd.getpwnam("postgres")
        done = subprocess.run(
            [
                "/usr/bin/psql",
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--set=VERBOSITY=terse",
                f"--host=/run/bakeboot-data-{datastore.name}",
                f"--port={datastore.port}",
                "--dbname=postgres",
            ],
            input=script,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PSQL_SECONDS,
            check=False,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"},
            user=postgres.pw_uid,
            group=postgres.pw_gid,
            extra_groups=[],
        )
    except (KeyError, OSError, subprocess.TimeoutExpired) as error:
        raise UnitError(f"psql can't make the databases of {datastore.name}: {error}") from error
    if done.returncode != 0:
        raise UnitError(
            f"psql could not make the databases of {datastore.name}: {done.stdout.strip()[-500:]}",
            hint=f"journalctl -u {datastore.unit}",
        )

"""HAProxy's log, one line a request, read as what an ALB would have counted. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """One request, when its answer has ended.

    `balancer` and `group` are the values of CloudWatch's dimensions LoadBalancer (`app/NAME/ID`) and TargetGroup
    (`targetgroup/NAME/ID`, "" where none was chosen); `target` is the key of the target, "" where none was chosen.
    `status` is what the client got, 460 where it went away before; `by_target` says whose answer that is;
    `unconnected` that no connection to the target came about.
    `seconds` from when the request was sent to the target until its answer began, None where none did.
    """

    balancer: str
    status: int
    kind: str
    group: str = ""
    target: str = ""
    by_target: bool = False
    unconnected: bool = False
    seconds: float | None = None


def listener_name(balancer: str, listener: str) -> str:
    """The name that a listener has in the log. `balancer` as in `Access`; `listener` the last part of its ARN."""
    return f"{balancer.replace('/', ':')}:{listener}"


def read_access(line: str) -> Access | None:
    """What a line of the log says (config.LOG_FORMAT); None where it tells of no request or is none of ours."""
    fields = line.split()
    if len(fields) != 10 or fields[0].count(":") != 3:
        return None
    name, status, answered, kind, group, target, ended, connect, response, _bytes = fields
    kind_, name_, identity, _listener = name.split(":")
    code = int(status)
    by_target = answered != "-"
    unconnected = False
    if kind == "forward" and not by_target:
        if ended[:1] == "C":
            code = 460  # AWS: the client closed the connection before it had an answer
        elif int(connect) < 0:
            unconnected, code = True, 504 if ended[:1] == "s" else 502
        elif code == 503:
            code = 502  # HAProxy's word for what was cut short
    if code <= 0 or (kind == "-" and code >= 500):
        return None
    return Access(
        balancer=f"{kind_}/{name_}/{identity}",
        status=code,
        kind="elb" if kind == "-" else kind,
        group="" if group == "-" else group,
        target="" if target == "-" else target,
        by_target=by_target,
        unconnected=unconnected,
        seconds=int(response) / 1000 if by_target and int(response) >= 0 else None,
    )

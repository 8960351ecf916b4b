"""The peer of the boot: cloud-init (Debian's), on the same base, told by the same metadata service to start one unit.

In a container it reads no DMI, by which it tells EC2; so that one function is replaced by one that returns EC2's values
at once, and everything else is stock. It gets the better of every choice: its address is there already, so there is no
DHCP (dhclient is taken out) and no network to set up; ds-identify has nothing to search for; it asks only the address
that answers.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bake.home import Home
from region.machine import Bind, MachineSpec
from region.metadata import InstanceMetadata
from tests.system.bakery import added_by, install_script

STAGES = {
    "cloud-init-local": "init --local",
    "cloud-init": "init",
    "cloud-config": "modules --mode=config",
    "cloud-final": "modules --mode=final",
}
"""Its units and what each runs."""
STARTED = "bench-service.service"
SPENT = "/run/bench-cpu"
"""A line for each stage: the user and system seconds that it took, as bash's `time` counts them."""
DEFAULT, LEAN = "Debian's modules", "only the modules that start the unit"

SET_UP = """\
rm -rf /sbin/dhclient /var/lib/cloud /var/log/journal
: >/etc/machine-id
printf 'datasource: Ec2\\npolicy: enabled\\n' >/etc/cloud/ds-identify.cfg
cat >/etc/cloud/cloud.cfg.d/99-bench.cfg <<'END'
datasource_list: [Ec2]
datasource: {Ec2: {metadata_urls: ["http://169.254.169.254"]}}
network: {config: disabled}
locale: C.UTF-8
END
cat >>/usr/lib/python3/dist-packages/cloudinit/dmi.py <<'END'


def read_dmi_data(key):
    ec2 = "ec2e1916-9099-7caf-fd21-012345abcdef"
    return {"system-uuid": ec2, "system-serial-number": ec2, "system-manufacturer": "Amazon EC2"}.get(key)
END
python3 -m compileall -q /usr/lib/python3/dist-packages/cloudinit/dmi.py
"""

LEAN_CONFIG = """\
cloud_init_modules: []
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud, templates_dir: /etc/cloud/templates}}
"""

USER_DATA = f"#cloud-config\nruncmd:\n - [systemctl, start, --no-block, {STARTED}]\n"


def make_layer(home: Home, work: Path, layers: Sequence[Path]) -> Path:
    """What installing cloud-init adds to `layers` (the lowest first): a folder, made once for the same ones."""
    layer = work / f"layer-{layers[-1].parent.name}"
    if layer.exists():
        return layer
    work.mkdir(exist_ok=True)
    with added_by(home, layers, install_script("cloud-init") + SET_UP) as added:
        shutil.move(added, layer)
    return layer


def spec(name: str, layers: tuple[Path, ...], modules: str, work: Path) -> MachineSpec:
    """A machine whose cloud-init starts STARTED, with `modules` DEFAULT or LEAN."""
    config = work / "cloud.cfg"
    config.write_text(LEAN_CONFIG)
    return MachineSpec(
        name=name,
        layers=layers,
        binds=(Bind(config, "/etc/cloud/cloud.cfg"),) if modules == LEAN else (),
        units={
            STARTED: "[Service]\nExecStart=/bin/sleep infinity\n",
            **{f"{unit}.service.d/bench.conf": _timed(command) for unit, command in STAGES.items()},
        },
        metadata=InstanceMetadata(
            instance_id="i-0123456789abcdef0",
            image_id="ami-0123456789abcdef0",
            tags={"bakeboot:stack": "six", "bakeboot:mode": "production", "bakeboot:service": "web"},
            user_data=USER_DATA.encode(),
        ),
    )


def _timed(command: str) -> str:
    """A drop-in that has bash time a stage: what systemd accounts for is not to be had on every host."""
    script = f"TIMEFORMAT='%%U %%S'; {{ time /usr/bin/cloud-init {command} 2>/dev/null; }} 2>>{SPENT}"
    return f'[Service]\nExecStart=\nExecStart=/bin/bash -c "{script}"\n'

"""Instances and their network interfaces: moto's records, with the states that EC2 goes through.

A call changes the record alone and returns; `region.aws.ec2.Ec2` sees the new state at its next look and makes it true.
The classes have the names of those that they stand for, by which moto finds the names of an answer's fields.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import elastic_network_interfaces, instances
from moto.ec2.models.instances import InstanceState, StateReason

from region import wiring
from region.aws import ec2_errors
from region.aws.lifecycle import CODES, State
from region.errors import RegionError

if TYPE_CHECKING:
    from region.aws.bodies import Body
    from region.aws.world import World
    from region.machine import Machine

LIVING = ("pending", "running", "stopping", "stopped", "shutting-down")
BY_USER = StateReason("Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown")
BY_ITSELF = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown"
)
BY_SPOT = StateReason("Server.SpotInstanceTermination: Spot instance termination", "Server.SpotInstanceTermination")
STOPPED_BY_SPOT = StateReason("Server.SpotInstanceShutdown: Spot instance stopped", "Server.SpotInstanceShutdown")
ON_LAUNCH = StateReason("Server.InternalError: Internal error on launch", "Server.InternalError")


class NetworkInterface(elastic_network_interfaces.NetworkInterface):
    """Its public address, where it has one, is of the region's own; EC2 gives it back when the instance stops."""

    __module__ = "moto.ec2.models"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mac_address = wiring.hardware_address(self.private_ip_address or "")

    def check_auto_public_ip(self) -> None:
        if str(self.public_ip_auto_assign).lower() == "true" and self.public_ip is None:
            self.public_ip = self.ec2_backend.allocate_public_address()

    def _elastic(self) -> list[Any]:
        return [address for address in self.ec2_backend.addresses if address.eni is self]

    def stop(self) -> None:
        """EC2 User Guide, "Elastic IP addresses": one stays when its instance stops, for as long as there is one."""
        if self.public_ip_auto_assign and self.public_ip and not self._elastic():
            self.ec2_backend.free_public_address(self.public_ip)
            self.public_ip = None

    def delete(self) -> None:
        """Its addresses are free from now on. One that is gone already is no error."""
        for address in self._elastic():
            address.instance = address.eni = address.association_id = None
        if self.id in self.ec2_backend.enis:
            super().delete()


class Instance(instances.Instance):
    """What EC2 tells of an instance. `body` is what of it is real; it has none until it is adopted by `Ec2`."""

    __module__ = "moto.ec2.models"

    def __init__(self, ec2_backend: Any, image_id: str, *args: Any, **kwargs: Any) -> None:
        self.body: Body | None = None
        self.image = ec2_backend.amis[image_id]
        self._target_lifecycle_state: str | None = None
        self.spot_instance_request_id: str | None = None
        super().__init__(ec2_backend, image_id, *args, **kwargs)
        given = {nic.get("NetworkInterfaceId") for nic in kwargs.get("nics") or ()}
        kept = {int(nic["DeviceIndex"]) for nic in kwargs.get("nics") or () if nic.get("DeleteOnTermination") is False}
        for index, nic in self.nics.items():
            # AWS's default for an interface that is made with its instance; moto's is the opposite.
            nic.delete_on_termination = nic.id not in given and index not in kept
        self._enter("pending")

    def __del__(self) -> None:
        """Nothing: moto frees the addresses here, by when somebody else may have them."""

    @property
    def world(self) -> World:
        return cast("World", self.ec2_backend.service.world)

    # --- what the others ask -------------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine | None:
        return self.body.machine if self.body else None

    @property
    def impaired(self) -> bool:
        """Whether its machine died without being asked."""
        return self.body is not None and self.body.impaired

    @property
    def is_spot(self) -> bool:
        return self.lifecycle == "spot"

    @property
    def target_lifecycle_state(self) -> str | None:
        return self._target_lifecycle_state

    @target_lifecycle_state.setter
    def target_lifecycle_state(self, state: str | None) -> None:
        self._target_lifecycle_state = state
        self.world.wake()

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.ec2_backend.tags.get(self.id, {}))

    @property
    def condition(self) -> State:
        return cast(State, self.state)

    # --- states --------------------------------------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        self._state = InstanceState(state, CODES[state])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.world.clock(), UTC).replace(tzinfo=None)

    def _because(self, reason: StateReason) -> None:
        self.state_reason = reason
        initiator = "Service" if reason.code.startswith("Server") else "User"
        self._reason = f"{initiator} initiated ({self._now():%Y-%m-%d %H:%M:%S} GMT)"

    def entered_running(self) -> None:
        self._enter("running")
        self._reason, self.state_reason = "", StateReason()

    def start(self) -> InstanceState:
        """StartInstances: "If the instance is already running, the request succeeds without effect"."""
        previous = copy.copy(self._state)
        if self.state in ("pending", "running"):
            return previous
        if self.state != "stopped":
            raise ec2_errors.incorrect_state(self.id, "started")
        for nic in self.nics.values():
            nic.start()
        self.launch_time = self._now()
        self._enter("pending")
        self._reason, self.state_reason = "", StateReason()
        return previous

    def stop(self, reason: StateReason = BY_USER) -> InstanceState:
        previous = copy.copy(self._state)
        if self.state in ("stopping", "stopped"):
            return previous
        if self.state != "running":
            raise ec2_errors.incorrect_state(self.id, "stopped")
        self._enter("stopping")
        self._because(reason)
        return previous

    def entered_stopped(self) -> None:
        """Its machine is off: now its public address is free."""
        for nic in self.nics.values():
            nic.stop()
        self._enter("stopped")

    def reboot(self) -> None:
        if self.state != "running" or self.body is None:
            raise ec2_errors.incorrect_state(self.id, "rebooted")
        self.body.reboot = True

    def terminate(self, reason: StateReason = BY_USER) -> InstanceState:
        previous = copy.copy(self._state)
        if self.state not in ("shutting-down", "terminated"):
            self._enter("shutting-down")
            self._because(reason)
        return previous

    def failed_to_start(self, reason: StateReason, *, for_good: bool) -> None:
        """EC2 User Guide, "Troubleshoot instance launch issues": it goes from pending to terminated, with a reason.

        One that ran before is stopped again.
        """
        if for_good:
            self.terminate(reason)
        else:
            self._because(reason)
            self.entered_stopped()

    def entered_terminated(self) -> None:
        """Its machine is gone: its addresses and volumes go too."""
        transition, reason, addresses = self._reason, self.state_reason, self.private_ip
        super().terminate()
        self._private_ips.discard(addresses or "")
        self._reason, self.state_reason = transition, reason

    @property
    def private_ip_address(self) -> str | None:
        """None of one that has ended: it is free for others."""
        return None if self.state == "terminated" else self.private_ip

    @property
    def network_interfaces(self) -> list[Any]:
        return [] if self.state == "terminated" else super().network_interfaces

    # --- answers -------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        """EC2 User Guide, "Status checks for Amazon EC2 instances": not applicable to one that is not running."""
        if self.state != "running":
            return {"Status": "not-applicable"}
        if self.impaired:
            return {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed"}]}
        if self.machine is None or not self.machine.booted:
            return {"Status": "initializing", "Details": [{"Name": "reachability", "Status": "initializing"}]}
        return {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}

    @property
    def instance_status(self) -> dict[str, Any]:
        return self._status()

    @property
    def system_status(self) -> dict[str, Any]:
        return self._status()

    @property
    def instance_lifecycle(self) -> str | None:
        return self.lifecycle

    @property
    def ena_support(self) -> bool:
        return True


def address_of(allocate: Callable[[], str]) -> str:
    """A public address. An error of the region's is one of EC2's."""
    try:
        return allocate()
    except RegionError as error:
        raise EC2ClientError("InsufficientAddressCapacity", error.what) from error

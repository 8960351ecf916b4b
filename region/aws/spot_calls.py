"""The API's calls about spot."""

from __future__ import annotations

from typing import Any, cast

from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from region.aws import ec2_errors
from region.aws.calls import Calls
from region.aws.instances import Instance
from region.aws.spot import CANCELED, Fleet, SpotInstanceRequest, request_of


class SpotCalls(Calls):
    """Takes the place of moto's, which forget most of what a launch template or a launch specification says."""

    def create_fleet(self) -> ActionResult:
        """CreateFleet of the types `instant` and `request`. `maintain` would have to be kept up, and is refused."""
        request = dict(self._get_params())
        if request.get("Type", "maintain") == "maintain":
            what = "This region keeps no fleet up: create it with the type instant, or an Auto Scaling group."
            raise ec2_errors.unsupported(what)
        self.error_on_dryrun()

        def create() -> ActionResult:
            fleet = Fleet(self.here, request)
            self.here.fleets[fleet.id] = fleet
            answer: dict[str, Any] = {"FleetId": fleet.id, "Errors": fleet.errors}
            if fleet.instances is not None:
                answer["Instances"] = fleet.instances
            return ActionResult(answer)

        return self._once(create)

    def request_spot_instances(self) -> ActionResult:
        """RequestSpotInstances: fulfilled at once, by RunInstances."""
        specification = dict(self._get_param("LaunchSpecification", {}))
        options = {
            "MaxPrice": self._get_param("SpotPrice"),
            "SpotInstanceType": self._get_param("Type", "one-time"),
            "InstanceInterruptionBehavior": self._get_param("InstanceInterruptionBehavior"),
            "ValidUntil": self._get_param("ValidUntil"),
        }
        specification["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": options}
        specification["TagSpecifications"] = self._get_param("TagSpecifications", [])
        self.error_on_dryrun()

        def request() -> ActionResult:
            reservation, _ = self.here.launch(specification, self._get_int_param("InstanceCount", 1))
            made = [request_of(cast(Instance, instance)) for instance in reservation.instances]
            return ActionResult({"SpotInstanceRequests": made})

        return self._once(request)

    def describe_spot_instance_requests(self) -> ActionResult:
        ids = self._get_param("SpotInstanceRequestIds", [])
        self._known(ids)
        found = self.here.describe_spot_instance_requests(filters=self._filters(), spot_instance_ids=ids)
        return ActionResult({"SpotInstanceRequests": found})

    def cancel_spot_instance_requests(self) -> ActionResult:
        """Its instance runs on."""
        ids = self._get_param("SpotInstanceRequestIds", [])
        self._known(ids)
        self.error_on_dryrun()
        for request_id in ids:
            request = cast(SpotInstanceRequest, self.here.spot_instance_requests[request_id])
            request.enter("cancelled", CANCELED, utcnow())
        cancelled = [{"SpotInstanceRequestId": request_id, "State": "cancelled"} for request_id in ids]
        return ActionResult({"CancelledSpotInstanceRequests": cancelled})

    def _known(self, ids: list[str]) -> None:
        for request_id in ids:
            if request_id not in self.here.spot_instance_requests:
                raise ec2_errors.no_spot_request(request_id)

    def describe_spot_price_history(self) -> ActionResult:
        """One price for all; the description of the product is that of all machines here."""
        kinds = self._get_param("InstanceTypes", [])
        wanted = {name: words for name, words in self._filters().items() if name != "product-description"}
        now = utcnow()
        history = [
            {
                "InstanceType": offer["InstanceType"],
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": "0.010000",
                "AvailabilityZone": offer["Location"],
                "Timestamp": now,
            }
            for offer in self.here.describe_spot_price_history(kinds, wanted)
        ]
        return ActionResult({"SpotPriceHistory": history})

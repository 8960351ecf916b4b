"""Identity and Access Management: moto's, with AWS's own managed policies read when one of them is used.

All 1,500 would cost every `up` their time, though most regions use none.
"""

from __future__ import annotations

import json

from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend, ManagedPolicy, iam_backends

from region.aws.world import World

_PREFIX = "arn:aws:iam::aws:policy/"


class RegionIam(IAMBackend):
    __module__ = "moto.iam.models"  # moto finds the service in it

    def attach_role_policy(self, policy_arn: str, role_name: str) -> None:
        self.know(policy_arn)
        super().attach_role_policy(policy_arn, role_name)

    def get_policy(self, policy_arn: str) -> ManagedPolicy:
        self.know(policy_arn)
        return super().get_policy(policy_arn)

    def put_role_permissions_boundary(self, role_name: str, permissions_boundary: str) -> None:
        self.know(permissions_boundary)
        super().put_role_permissions_boundary(role_name, permissions_boundary)

    def know(self, arn: str) -> None:
        """Makes AWS's managed policy of this ARN known, where it is one."""
        if arn in self.managed_policies or not arn.startswith(_PREFIX):
            return
        name = arn.rpartition("/")[2]
        data = json.loads(aws_managed_policies_data).get(name)
        if data is not None:
            policy = AWSManagedPolicy.from_data(name, self.account_id, self.region_name, data)
            self.managed_policies[policy.arn] = policy


def install(world: World) -> None:
    iam_backends.backend = RegionIam
    iam_backends.clear()

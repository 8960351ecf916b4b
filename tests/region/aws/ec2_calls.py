"""Short words for calls that the tests of EC2 make again and again."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.region.aws.fakes import IMAGE


def launch(api: Any, **words: Any) -> str:
    """The id of one instance, which is pending."""
    answer = api.run_instances(**{"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small", **words})
    return str(answer["Instances"][0]["InstanceId"])


def describe(api: Any, instance_id: str) -> Any:
    (reservation,) = api.describe_instances(InstanceIds=[instance_id])["Reservations"]
    return reservation["Instances"][0]


def state(api: Any, instance_id: str) -> str:
    return str(describe(api, instance_id)["State"]["Name"])


def image(api: Any, image_id: str) -> Any:
    return api.describe_images(ImageIds=[image_id])["Images"][0]


def tags(resource: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def refused(code: str) -> Any:
    """A block that EC2 answers with this error."""
    return pytest.raises(ClientError, match=rf"\({code.replace('.', chr(92) + '.')}\)")

"""All of EC2's calls in one class, as moto dispatches them."""

from __future__ import annotations

from region.aws.image_calls import ImageCalls
from region.aws.instance_calls import InstanceCalls
from region.aws.launch_template_calls import LaunchTemplateCalls
from region.aws.spot_calls import SpotCalls


class EC2Response(InstanceCalls, ImageCalls, LaunchTemplateCalls, SpotCalls):
    """One request of EC2's query API."""

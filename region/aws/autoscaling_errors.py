"""What Auto Scaling refuses, as its clients know it: the code is what boto3 shows as `Error.Code`.

What AWS has and a local region has not is a NotImplementedError, which the API's door tells as UnsupportedOperation.
"""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class ValidationError(ServiceException):
    code = "ValidationError"


class AlreadyExists(ServiceException):
    code = "AlreadyExists"


class ResourceInUse(ServiceException):
    code = "ResourceInUse"


class ScalingActivityInProgress(ServiceException):
    code = "ScalingActivityInProgress"


def no_group(name: str | None) -> ValidationError:
    return ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")

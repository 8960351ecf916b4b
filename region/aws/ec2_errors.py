"""The errors of EC2 that moto has no words for. EC2 API Reference, "Error codes for the Amazon EC2 API"."""

from __future__ import annotations

from collections.abc import Iterable

from moto.ec2.exceptions import EC2ClientError


def invalid_value(message: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", message)


def incorrect_state(instance_id: str, verb: str) -> EC2ClientError:
    """`verb`: what can't be done now, as "stopped"."""
    what = f"The instance '{instance_id}' is not in a state from which it can be {verb}."
    return EC2ClientError("IncorrectInstanceState", what)


def not_stopped(instance_id: str) -> EC2ClientError:
    return EC2ClientError("IncorrectInstanceState", f"The instance '{instance_id}' is not in the 'stopped' state.")


def mismatch() -> EC2ClientError:
    """EC2 API Reference, "Ensuring idempotency in Amazon EC2 API requests"."""
    what = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
    return EC2ClientError("IdempotentParameterMismatch", what)


def no_image(image_id: str) -> EC2ClientError:
    return EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")


def unavailable_image(image_id: str, state: str) -> EC2ClientError:
    return EC2ClientError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available: it is {state}")


def no_key_pair(name: str) -> EC2ClientError:
    return EC2ClientError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def no_groups(names: Iterable[str]) -> EC2ClientError:
    return EC2ClientError("InvalidGroup.NotFound", f"The security group '{', '.join(names)}' does not exist")


def no_profile(kind: str, value: str) -> EC2ClientError:
    """`kind`: "name" or "arn"."""
    word = "name" if kind == "name" else "ARN"
    what = f"Value ({value}) for parameter iamInstanceProfile.{kind} is invalid. Invalid IAM Instance Profile {word}"
    return invalid_value(what)


def missing(parameter: str) -> EC2ClientError:
    return EC2ClientError("MissingParameter", f"The request must contain the parameter {parameter}")


def unsupported(message: str) -> EC2ClientError:
    return EC2ClientError("UnsupportedOperation", message)


def protected(instance_id: str) -> EC2ClientError:
    what = (
        f"The instance '{instance_id}' may not be terminated. "
        "Modify its 'disableApiTermination' instance attribute and try again."
    )
    return EC2ClientError("OperationNotPermitted", what)


def one_time_spot(instance_id: str) -> EC2ClientError:
    """EC2 User Guide, "Stop a Spot Instance": only one of a persistent request can be stopped."""
    what = f"You can't stop the Spot Instance '{instance_id}' because it is associated with a one-time request."
    return unsupported(what)


def no_spot_request(request_id: str) -> EC2ClientError:
    what = f"The spot instance request ID '{request_id}' does not exist"
    return EC2ClientError("InvalidSpotInstanceRequestID.NotFound", what)

"""Systems Manager's parameters: moto's, with the limits that would bite on AWS.

"PutParameter" and "Managing parameter tiers": a standard parameter's value has 4 KB at most, an advanced one's 8 KB.
"""

from __future__ import annotations

from typing import Any

from moto.ssm.exceptions import SSMException, ValidationException
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

from region.aws.world import World

_STANDARD, _ADVANCED = 4096, 8192  # characters


class RegionSsm(SimpleSystemManagerBackend):
    __module__ = "moto.ssm.models"  # moto finds the service in it

    def put_parameter(self, name: str, description: str, value: str, *more: Any, **settings: Any) -> Parameter:
        """Raises ValidationException for a value that is too long for its tier."""
        tier = settings.get("tier") or self.default_parameter_tier
        if tier == "Intelligent-Tiering":
            settings["tier"] = tier = "Advanced" if len(value) > _STANDARD else "Standard"
        longest = _ADVANCED if tier == "Advanced" else _STANDARD
        if value and len(value) > longest:
            larger = "" if tier == "Advanced" else _LARGER
            what = f"{tier} tier parameters support a maximum parameter value of {longest} characters.{larger}"
            raise ValidationException(what)
        return super().put_parameter(name, description, value, *more, **settings)

    def get_parameters_by_path(
        self,
        path: str,
        recursive: bool,
        filters: list[dict[str, Any]] | None = None,
        next_token: str | None = None,
        max_results: int = 10,
    ) -> tuple[list[Parameter], str | None]:
        """Raises SSMException for a token that it gave nobody."""
        if next_token is not None and not next_token.isdecimal():
            raise SSMException("InvalidNextToken", "The specified token isn't valid.")
        return super().get_parameters_by_path(path, recursive, filters, next_token, max_results)


_LARGER = (
    " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
    " For more information, see"
    " https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
)


class Ssm:
    """The service. Nothing of it runs by itself."""

    def close(self) -> None:
        """Nothing was started."""


def install(world: World) -> Ssm:
    ssm_backends.backend = RegionSsm
    ssm_backends.clear()
    return Ssm()

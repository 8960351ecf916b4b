"""Launch templates: numbered versions that never change, and of which single ones can go.

EC2 API Reference, CreateLaunchTemplateVersion: "The new version inherits the same launch parameters as the source
version, except for parameters that you specify in LaunchTemplateData"; DeleteLaunchTemplateVersions: not the default
one, and a number is never given out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidLaunchTemplateVersionNotFound
from moto.ec2.models import launch_templates
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ec2.utils import parse_user_data

from region.aws import ec2_errors, launching

Numbers = Mapping[int, LaunchTemplateVersion]


class LaunchTemplate(launch_templates.LaunchTemplate):
    """`versions` in the order of their numbers, from which some may be missing."""

    __module__ = "moto.ec2.models"
    _given = 0

    @property
    def tags(self) -> Any:
        return self.get_tags()

    @tags.setter
    def tags(self, tags: Any) -> None:
        """moto keeps those of the beginning; here they are always those of now."""

    def create_version(self, data: dict[str, Any], description: str) -> LaunchTemplateVersion:
        self._given += 1
        version = LaunchTemplateVersion(self, self._given, clean(data), description)
        self.versions.append(version)
        return version

    def get_version(self, num: Any) -> LaunchTemplateVersion:
        """By number, "$Latest" or "$Default". Raises EC2's errors."""
        match launching.version_number(num):
            case "$Latest":
                return self.versions[-1]
            case "$Default":
                return self.default_version()
            case number:
                found = next((version for version in self.versions if version.number == number), None)
        if found is None:
            raise InvalidLaunchTemplateVersionNotFound(template_id=self.id, version=num)
        return found

    def default_version(self) -> LaunchTemplateVersion:
        return next(version for version in self.versions if version.number == self.default_version_number)

    def delete_version(self, number: str) -> LaunchTemplateVersion:
        """Raises EC2's errors for the default one and for one that there is not."""
        version = self.get_version(number)
        if version.number == self.default_version_number:
            what = "The default version of a launch template can't be deleted: make another one the default first."
            raise EC2ClientError("OperationNotPermitted", what)
        self.versions.remove(version)
        return version


def clean(data: Mapping[str, Any]) -> dict[str, Any]:
    """Launch template data without what is not said, and with user data that is checked to be base64."""
    found = {name: value for name, value in data.items() if value is not None}
    if "UserData" in found and isinstance(found["UserData"], str):
        found["UserData"] = parse_user_data(found["UserData"])
    return found


def chosen(
    versions: Sequence[LaunchTemplateVersion],
    asked: Sequence[str],
    least: int | None,
    most: int | None,
    find: Callable[[str], LaunchTemplateVersion],
) -> list[LaunchTemplateVersion]:
    """Those that DescribeLaunchTemplateVersions asks for: named ones, or all within limits, the latest first."""
    if asked:
        found = {version.number: version for version in map(find, asked)}
        return list(found.values())
    inside = [one for one in versions if (least or 1) <= one.number and (most is None or one.number <= most)]
    return inside[::-1]


def page(items: Sequence[Any], size: int | None, token: str | None) -> tuple[Sequence[Any], str | None]:
    """One page, and the token for the next one (None at the end). Raises EC2's error for a token that is none."""
    if token is not None and not token.isdigit():
        raise ec2_errors.invalid_value(f"The token '{token}' is invalid")
    start = int(token or 0)
    end = start + (size or len(items))
    return items[start:end], str(end) if end < len(items) else None


def told(template: LaunchTemplate, version: LaunchTemplateVersion, creator: str) -> dict[str, Any]:
    """A version as the API says it."""
    return {
        "CreateTime": version.create_time,
        "CreatedBy": creator,
        "DefaultVersion": template.is_default(version),
        "LaunchTemplateData": version.data,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionDescription": version.description,
        "VersionNumber": version.number,
    }

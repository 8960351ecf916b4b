"""The API's calls about launch templates."""

from __future__ import annotations

from typing import Any, cast

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError

from region.aws import launching
from region.aws.calls import Calls
from region.aws.launch_templates import LaunchTemplate, chosen, page, told


class LaunchTemplateCalls(Calls):
    """Takes the place of moto's, which inherit nothing, cut lists short and can't delete a version."""

    @property
    def _creator(self) -> str:
        return f"arn:{self.partition}:iam::{self.current_account}:root"

    def _template(self) -> LaunchTemplate:
        if template_id := self._get_param("LaunchTemplateId"):
            return cast(LaunchTemplate, self.ec2_backend.get_launch_template(template_id))
        return cast(LaunchTemplate, self.ec2_backend.get_launch_template_by_name(self._get_param("LaunchTemplateName")))

    def create_launch_template(self) -> ActionResult:
        tags = launching.tags_of(self._get_param("TagSpecifications", []))
        data = self._get_param("LaunchTemplateData", {})
        self.error_on_dryrun()

        def create() -> ActionResult:
            template = self.ec2_backend.create_launch_template(
                self._get_param("LaunchTemplateName"), self._get_param("VersionDescription"), data, tags
            )
            return ActionResult({"LaunchTemplate": self._summary(template)})

        return self._once(create)

    def _summary(self, template: LaunchTemplate) -> dict[str, Any]:
        return {
            "CreateTime": template.create_time,
            "CreatedBy": self._creator,
            "DefaultVersionNumber": template.default_version_number,
            "LatestVersionNumber": template.latest_version_number,
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "Tags": template.tags,
        }

    def create_launch_template_version(self) -> ActionResult:
        template = self._template()
        data = self._get_param("LaunchTemplateData", {})
        source = self._get_param("SourceVersion")
        self.error_on_dryrun()

        def create() -> ActionResult:
            whole = launching.inherit(template.get_version(source).data, data) if source else data
            version = template.create_version(whole, self._get_param("VersionDescription"))
            return ActionResult({"LaunchTemplateVersion": told(template, version, self._creator)})

        return self._once(create)

    def delete_launch_template_versions(self) -> ActionResult:
        template = self._template()
        self.error_on_dryrun()
        done, failed = [], []
        for number in self._get_param("Versions", []):
            entry = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": number}
            try:
                template.delete_version(number)
                done.append(entry)
            except EC2ClientError as error:
                code = "launchTemplateVersionDoesNotExist" if "NotFound" in error.code else "unexpectedError"
                failed.append({**entry, "ResponseError": {"Code": code, "Message": error.message}})
        return ActionResult(
            {
                "SuccessfullyDeletedLaunchTemplateVersions": done,
                "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
            }
        )

    def describe_launch_template_versions(self) -> ActionResult:
        asked = [str(version) for version in self._get_param("Versions", [])]
        self.error_on_dryrun()
        if self._get_param("LaunchTemplateId") or self._get_param("LaunchTemplateName"):
            template = self._template()
            limits = self._get_int_param("MinVersion"), self._get_int_param("MaxVersion")
            found = [(template, one) for one in chosen(template.versions, asked, *limits, template.get_version)]
        else:
            # Its own checks: without a template only $Latest and $Default are allowed.
            found = self.ec2_backend.describe_launch_template_versions(None, None, asked, None, None, None)
        shown, token = page(found, self._get_int_param("MaxResults"), self._get_param("NextToken"))
        entries = [told(template, version, self._creator) for template, version in shown]
        return ActionResult({"LaunchTemplateVersions": entries, "NextToken": token})

    def describe_launch_templates(self) -> ActionResult:
        self.error_on_dryrun()
        found = self.ec2_backend.describe_launch_templates(
            template_names=self._get_param("LaunchTemplateNames", []),
            template_ids=self._get_param("LaunchTemplateIds", []),
            filters=self._filters_from_querystring(),
        )
        shown, token = page(found, self._get_int_param("MaxResults"), self._get_param("NextToken"))
        return ActionResult({"LaunchTemplates": [self._summary(one) for one in shown], "NextToken": token})

"""This instance's tags, read from the metadata service; late ones are waited for.

``meta-data/tags/instance`` answers 404 both when the instance has no tags yet and when the option
InstanceMetadataTags is off; the listing of ``meta-data/`` tells the two apart (EC2 User Guide, "View
tags for your EC2 instances using instance metadata").

On the boot path: imports nothing outside of the agent.
"""

from __future__ import annotations

from agent.errors import MetadataDisabled
from agent.names import TAG_MODE, TAG_RELEASE, TAG_SERVICE, TAG_STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.imds import Imds

READ = (TAG_STACK, TAG_MODE, TAG_SERVICE, TAG_RELEASE)

FIRST_POLL, POLL_GROWTH, LONGEST_POLL = 0.1, 1.5, 2.0
OPTION_GRACE = 5.0
"""Seconds that a listing without ``tags/`` is doubted: early in a boot it could be incomplete."""


def read_tags(
    imds: Imds,
    *,
    lacking: Callable[[dict[str, str]], str | None],
    wait: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    waiting: Callable[[str], None] = lambda why: None,
) -> dict[str, str]:
    """The tags that the agent reads, by key. Waits up to ``wait`` seconds until ``lacking`` names none.

    When the wait ends, gives what there is: the decision says what is missing. Raises MetadataDisabled
    when the option is off, and what Imds raises.
    """
    began = monotonic()
    imds.extend(wait)
    poll = FIRST_POLL
    while True:
        tags, offered = _read_once(imds)
        missing = lacking(tags)
        waited = monotonic() - began
        if missing is None or (offered and waited >= wait):
            return tags
        if not offered and waited >= min(wait, OPTION_GRACE):
            raise MetadataDisabled(
                "the tags of this instance are not in its metadata: the option InstanceMetadataTags is off",
                where="meta-data/tags",
                hint="aws ec2 modify-instance-metadata-options --instance-metadata-tags enabled --instance-id …",
            )
        waiting(f"waiting for the tag {missing}, {wait - waited:.0f} s more")
        sleep(max(0.001, min(poll, wait - waited)))
        poll = min(poll * POLL_GROWTH, LONGEST_POLL)


def _read_once(imds: Imds) -> tuple[dict[str, str], bool]:
    """The tags that are there, and whether tags are offered at all."""
    listing = imds.get("meta-data/tags/instance")
    if listing is None:
        root = imds.get("meta-data/") or ""
        return {}, "tags/" in root.split("\n") or "tags" in root.split("\n")
    keys = listing.split("\n")
    values = {key: imds.get(f"meta-data/tags/instance/{key}") for key in READ if key in keys}
    return {key: value for key, value in values.items() if value is not None}, True

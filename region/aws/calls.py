"""What all of EC2's calls share: one that is sent twice with the same token is carried out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response as MotoEC2Response

from region.aws import ec2_errors, launching

if TYPE_CHECKING:
    from region.aws.ec2_backend import EC2Backend

_MOST = 10_000


class Answers:
    """What calls with a client token were answered, the latest 10,000 of them.

    EC2 API Reference, "Ensuring idempotency in Amazon EC2 API requests".
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[dict[str, Any], ActionResult]] = {}

    def once(self, action: str, token: str, request: dict[str, Any], work: Callable[[], ActionResult]) -> ActionResult:
        """The answer of the first call; `work` is done for that one alone. Raises IdempotentParameterMismatch."""
        if (action, token) in self._known:
            earlier, answer = self._known[action, token]
            if not launching.same_request(earlier, request):
                raise ec2_errors.mismatch()
            return answer
        answer = work()
        self._known[action, token] = (request, answer)
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return answer


class Calls(MotoEC2Response):
    """The calls of one request: an instance is made for each."""

    @property
    def here(self) -> EC2Backend:
        """The records of the request's account and AWS region."""
        return cast("EC2Backend", self.ec2_backend)

    def _filters(self) -> dict[str, list[str]]:
        return cast(dict[str, list[str]], self._filters_from_querystring())

    def _once(self, work: Callable[[], ActionResult]) -> ActionResult:
        """Carries the call out, or answers as it did to the same call before."""
        token = self._get_param("ClientToken")
        if not token:
            return work()
        return self.here.answers.once(self._get_action(), token, dict(self._get_params()), work)

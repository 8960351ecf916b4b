"""Keys and certificates of HTTPS listeners: moto's ACM and IAM hold real ones, self-signed where it made them."""

from __future__ import annotations

from moto.acm.exceptions import CertificateNotFound
from moto.acm.models import acm_backends
from moto.elbv2.models import FakeListener
from moto.iam.models import iam_backends


def pem_of(listener: FakeListener) -> str:
    """Key and certificates of an HTTPS listener in one text, as HAProxy reads them; "" for HTTP."""
    if listener.protocol != "HTTPS" or not listener.certificate:
        return ""
    arn = listener.certificate
    account, region = arn.split(":")[4], arn.split(":")[3]
    try:
        bundle = acm_backends[account][region].get_certificate(arn)
        parts: list[str | bytes | None] = [bundle.key, bundle.cert, bundle.chain]
    except (CertificateNotFound, KeyError):
        found = iam_backends[account]["aws"].get_certificate_by_arn(arn)
        parts = [found.private_key, found.cert_body, found.cert_chain] if found is not None else []
    texts = [part.decode() if isinstance(part, bytes) else str(part) for part in parts if part]
    return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)

"""AWS Signature Version 4: a request that is signed with a secret key instead of showing it."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from redkite.model.calling import Credential

_ALGORITHM = "AWS4-HMAC-SHA256"


def signed_headers(
    url: str, body: bytes, credential: Credential, region: str, service: str, now_ms: int
) -> dict[str, str]:
    """The headers that sign a POST of a JSON body: `Authorization`, the date, and the token of a session if there is
    one. `url` is as it will be sent, its path quoted."""
    parts = urlsplit(url)
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    date, day = moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d")
    headers = {"content-type": "application/json", "host": parts.netloc, "x-amz-date": date}
    if credential.session_token:
        headers["x-amz-security-token"] = credential.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "POST",
            quote(parts.path or "/", safe="/-_.~"),  # a quoted path is quoted again; only S3 takes it as it is
            parts.query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(_key(credential, day, region, service), to_sign.encode(), hashlib.sha256).hexdigest()
    shown = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    return shown | {
        "Authorization": f"{_ALGORITHM} Credential={credential.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    }


def _key(credential: Credential, day: str, region: str, service: str) -> bytes:
    key = b"AWS4" + credential.secret_access_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key

"""Google's service accounts: a signed statement of who asks, which Google changes into a token of an hour.

The statement is a JSON Web Token with an RSA signature (RS256). Python's standard library has neither RSA nor its
files; what is needed of both is short, and one signature an hour needs no speed.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec

from redkite.functions.providers.base import BadReply

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_SECONDS = 3600
_SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 in a PKCS #1 signature: the name of the algorithm, in DER."""
_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30


class ServiceAccount(msgspec.Struct, frozen=True):
    """The parts of the file that matter here."""

    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"
    project_id: str = ""
    private_key_id: str = ""

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email})"


class Token(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int = LIFETIME_SECONDS

    def __repr__(self) -> str:
        return "Token(hidden)"


def read_account(text: str) -> ServiceAccount:
    """From the file's JSON text, or that in base64. Raises ValueError, which quotes nothing of it."""
    try:
        raw = text.encode() if text.lstrip().startswith("{") else b64decode("".join(text.split()), validate=True)
        account = msgspec.json.decode(raw, type=ServiceAccount)
        private_key(account.private_key)
    except (msgspec.DecodeError, ValueError, IndexError):
        raise ValueError("is not the JSON text of a service account with an RSA key") from None
    return account


def token_request(account: ServiceAccount, now: int) -> bytes:
    """The form that asks `token_uri` for a token. `now` in seconds since 1970."""
    header: dict[str, Any] = {"alg": "RS256", "typ": "JWT"}
    if account.private_key_id:
        header["kid"] = account.private_key_id
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }
    statement = b".".join(_url_base64(msgspec.json.encode(part)) for part in (header, claims))
    signature = _url_base64(sign(statement, *private_key(account.private_key)))
    return urlencode({"grant_type": GRANT, "assertion": (statement + b"." + signature).decode()}).encode()


def read_token(reply: bytes) -> Token:
    try:
        return msgspec.json.decode(reply, type=Token)
    except msgspec.DecodeError:
        raise BadReply("no access token") from None


def sign(message: bytes, modulus: int, exponent: int) -> bytes:
    """The RSASSA-PKCS1-v1_5 signature of a message, with SHA-256."""
    size = (modulus.bit_length() + 7) // 8
    tail = b"\x00" + _SHA256_PREFIX + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(tail) - 2) + tail
    return pow(int.from_bytes(padded), exponent, modulus).to_bytes(size)


def private_key(pem: str) -> tuple[int, int]:
    """The modulus and the private exponent in a PEM text, PKCS #8 or PKCS #1. Raises ValueError or IndexError for
    what is neither."""
    lines = [line.strip() for line in pem.strip().splitlines()]
    der = b64decode("".join(line for line in lines if not line.startswith("-----")), validate=True)
    outer = list(_parts(_value(der, _SEQUENCE)))
    if len(outer) > 1 and outer[1][0] == _SEQUENCE:  # PKCS #8: version, algorithm, the key as PKCS #1 in octets
        outer = list(_parts(_value(_of(outer[2], _OCTETS), _SEQUENCE)))
    modulus, exponent = (int.from_bytes(_of(outer[at], _INTEGER)) for at in (1, 3))
    if modulus.bit_length() < 1024:
        raise ValueError("too short a key")
    return modulus, exponent


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the value of each element of a DER sequence."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count]), at + count
        if at + size > len(data):
            raise ValueError("cut off")
        yield tag, data[at : at + size]
        at += size


def _value(data: bytes, tag: int) -> bytes:
    return _of(next(_parts(data), (0, b"")), tag)


def _of(part: tuple[int, bytes], tag: int) -> bytes:
    if part[0] != tag:
        raise ValueError("another structure")
    return part[1]


def _url_base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")

"""Where a model is asked, and with which key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock
from urllib.parse import quote, urlsplit

import msgspec

from redkite.env import Env
from redkite.errors import FunctionFailed, InvalidParameter
from redkite.functions.endpoints import check_allowed, checked_endpoint
from redkite.functions.http import Http, HttpRequest
from redkite.functions.keys import Keys, missing
from redkite.functions.providers.base import Auth, BadReply
from redkite.functions.providers.google import ServiceAccount, Token, read_account, read_token, token_request
from redkite.functions.providers.signing import signed_headers
from redkite.functions.wanted import Wanted
from redkite.model.calling import Credential, ModelSettings, ProviderSettings

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}")
_EARLY_SECONDS = 60
"""A token is not used so shortly before its end."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    who: str
    url: str
    auth: Auth
    credential: Credential | None = None
    region: str = ""


class Targets:
    """Finds targets and makes requests to them. Safe from any thread."""

    def __init__(self, env: Env, settings: ModelSettings, http: Http, keys: Keys) -> None:
        self._env = env
        self._settings = settings
        self._http = http
        self._keys = keys
        self._lock = Lock()
        self._tokens: dict[str, tuple[float, Token]] = {}

    def check(self, wanted: Wanted) -> None:
        """Raise InvalidParameter for a provider that is switched off and an endpoint that may not be asked."""
        self._address(wanted)

    def of(self, wanted: Wanted) -> Target:
        """Raises InvalidParameter when there is no address, or no key for it."""
        url, own = self._address(wanted)
        credential = self._credential(wanted, own)
        parts = dict(wanted.parts)
        if wanted.auth is Auth.GOOGLE and credential is not None and not parts.get("project"):
            parts["project"] = _account(wanted.who, credential).project_id
        return Target(
            who=wanted.who,
            url=_filled(wanted, url, parts),
            auth=wanted.auth,
            credential=credential,
            region=parts.get("region", ""),
        )

    def request(self, target: Target, body: bytes) -> HttpRequest:
        """A POST of a body to a target, with what proves who asks."""
        headers: dict[str, str] = {}
        hidden: tuple[str, ...] = ()
        credential = target.credential
        if credential is not None:
            hidden = credential.secrets()
            if target.auth is Auth.BEARER:
                headers["Authorization"] = f"Bearer {credential.apikey}"
            elif target.auth in (Auth.API_KEY, Auth.GOOGLE_KEY):
                headers[target.auth.value] = credential.apikey
            elif target.auth is Auth.SIGNED:
                now = self._env.clock.now_ms()
                headers = signed_headers(target.url, body, credential, target.region, "bedrock", now)
            else:
                token = self._token(target.who, credential)
                headers["Authorization"] = f"Bearer {token.access_token}"
                hidden = (token.access_token,)
        return HttpRequest(who=target.who, url=target.url, body=body, headers=headers, hidden=hidden)

    # -- addresses ------------------------------------------------------------------------------
    def _address(self, wanted: Wanted) -> tuple[str, bool]:
        """The URL, not filled in yet, and whether it is the provider's own or the operator's."""
        settings = self._of_provider(wanted)
        if not settings.enable:
            raise InvalidParameter(f"{wanted.who} is disabled")
        if wanted.endpoint:
            endpoint = checked_endpoint(wanted.who, wanted.endpoint)
            if endpoint not in (wanted.home, settings.url.rstrip("/")):
                check_allowed(wanted.who, endpoint, self._settings.endpoints)
                return joined(endpoint, wanted.path), False
        if settings.url:
            return joined(checked_endpoint(wanted.who, settings.url), wanted.path), True
        if not wanted.home:
            raise InvalidParameter(f"{wanted.who}: endpoint must be given")
        return wanted.home + wanted.path, True

    def _of_provider(self, wanted: Wanted) -> ProviderSettings:
        return self._settings.providers.get(wanted.provider) or ProviderSettings()

    def resource(self, provider: str) -> str:
        """Azure's resource, from the provider's settings or the environment."""
        settings = self._settings.providers.get(provider) or ProviderSettings()
        return settings.resource_name or self._keys.variable(("AZURE_OPENAI_RESOURCE_NAME",))

    # -- keys -----------------------------------------------------------------------------------
    def _credential(self, wanted: Wanted, own: bool) -> Credential | None:
        """A provider's own key goes to the provider alone; elsewhere only a credential that the function names."""
        name = wanted.credential or (self._of_provider(wanted).credential if own else "")
        if name:
            credential = self._keys.credential(wanted.who, name)
        elif own and wanted.variables:
            credential = self._from_environment(wanted)
        else:
            return None
        lacking = _lacking(wanted.auth, credential)
        if lacking:
            raise InvalidParameter(f"{wanted.who}: credential {name or 'of the environment'} has no {lacking}")
        if not all(map(_is_one_line, (*credential.secrets(), credential.access_key_id))):
            raise InvalidParameter(f"{wanted.who}: credential {name or 'of the environment'} is not one line of ASCII")
        return credential

    def _from_environment(self, wanted: Wanted) -> Credential:
        values = {}
        if wanted.auth is Auth.SIGNED:
            for name in wanted.variables:
                own = name.removeprefix("BEDROCK_")
                values[own.lower()] = self._keys.variable((name, f"AWS_{own}"))
            values["session_token"] = self._keys.variable(("AWS_SESSION_TOKEN",))
        elif wanted.auth is Auth.GOOGLE:
            path = self._keys.variable(wanted.variables)
            if path:
                values["credential_json"] = self._file(wanted.who, path)
        else:
            values["apikey"] = self._keys.variable(wanted.variables)
        credential = Credential(**values)
        if _lacking(wanted.auth, credential):
            raise missing(wanted.who, wanted.variables[0])
        return credential

    def _file(self, who: str, path: str) -> str:
        try:
            return self._env.files.read(path).decode()
        except (OSError, UnicodeDecodeError):
            raise InvalidParameter(f"{who}: the file of the service account cannot be read") from None

    def _token(self, who: str, credential: Credential) -> Token:
        account = _account(who, credential)
        with self._lock:
            until, token = self._tokens.get(account.client_email, (0.0, None))
        if token is not None and self._env.clock.monotonic() < until:
            return token
        began = self._env.clock.monotonic()
        reply = self._http.post(
            HttpRequest(
                who=f"{who}: the token service",
                url=account.token_uri,
                body=token_request(account, self._env.clock.now_ms() // 1000),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
        )
        try:
            token = read_token(reply)
        except BadReply as error:
            raise FunctionFailed(f"{who}: the token service at {account.token_uri} answered {error}") from None
        with self._lock:
            self._tokens[account.client_email] = (began + token.expires_in - _EARLY_SECONDS, token)
        return token


def joined(endpoint: str, path: str) -> str:
    """A path behind an endpoint, which may already end in the beginning of it, or in all of it."""
    plain, mark, query = path.partition("?")
    steps = plain.strip("/").split("/")
    own = urlsplit(endpoint).path.strip("/").split("/")
    for shared in range(min(len(own), len(steps)), 0, -1):
        if own[-shared:] == steps[:shared]:
            steps = steps[shared:]
            break
    return "/".join([endpoint, *steps]) + mark + query


def _is_one_line(text: str) -> bool:
    """Whether a text can stand in a header."""
    return text.isascii() and (text.isprintable() or not text)


def _filled(wanted: Wanted, url: str, parts: Mapping[str, str]) -> str:
    if "{model_path}" in url:
        steps = parts.get("model", "").split("/")
        if any(step in ("", ".", "..") for step in steps):
            raise InvalidParameter(f"{wanted.who}: model_name [{parts.get('model', '')[:100]}] is invalid")
        url = url.replace("{model_path}", quote("/".join(steps)))
    for name in ("model", "region", "location", "project", "resource"):
        mark = f"{{{name}}}"
        if mark not in url:
            continue
        value = parts.get(name, "")
        if not value:
            raise InvalidParameter(f"{wanted.who}: {name} must be given")
        if name != "model" and not _PLAIN.fullmatch(value):
            raise InvalidParameter(f"{wanted.who}: {name} [{value[:100]}] is invalid")
        url = url.replace(mark, quote(value, safe=""))
    return url


def _account(who: str, credential: Credential) -> ServiceAccount:
    try:
        return read_account(credential.credential_json)
    except ValueError as error:
        raise InvalidParameter(f"{who}: the credential {error}") from None


def _lacking(auth: Auth, credential: Credential) -> str:
    """The part of a credential that a way to show it needs and that is empty."""
    needed = {
        Auth.BEARER: ("apikey",),
        Auth.API_KEY: ("apikey",),
        Auth.GOOGLE_KEY: ("apikey",),
        Auth.SIGNED: ("access_key_id", "secret_access_key"),
        Auth.GOOGLE: ("credential_json",),
    }
    return next((name for name in needed[auth] if not getattr(credential, name)), "")

"""What an operator says about the services that models are behind: where they are, their keys, and how long to wait."""

from __future__ import annotations

import msgspec

MIB = 1024 * 1024
ANYWHERE = "*"
CREDENTIAL_VARIABLE = "REDKITE_CREDENTIAL_"
"""A credential may also be the value of this and its name in capitals, in the engine's environment."""
LOOPBACK = "localhost"
FOLDER_VARIABLE = "REDKITE_MODELS"
"""The folder of local models, for a server and for a program alike."""


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What proves to a provider who asks. Nothing that shows a credential shows what is in it."""

    apikey: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    credential_json: str = ""
    """Google's file of a service account: its JSON text, or that in base64."""

    def __repr__(self) -> str:
        return "Credential(hidden)"

    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be shown."""
        return tuple(text for text in (self.apikey, self.secret_access_key, self.session_token) if text)


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider, for all functions that name it."""

    enable: bool = True
    url: str = ""
    """Instead of the provider's own; its key goes there as well."""
    credential: str = ""
    """The name of the credential for functions that name none."""
    resource_name: str = ""
    """Azure: the resource that the deployments are in."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that ranks texts, under a name that clients know it by."""

    provider: str
    endpoint: str = ""
    """Empty: the provider's own."""
    model_name: str = ""
    credential: str = ""
    max_client_batch_size: int = 0
    """Texts in one request; 0: 32."""
    options: dict[str, str] = {}
    """Other parameters of the provider."""

    def params(self) -> dict[str, str]:
        """As a function that ranks by a model has them."""
        named = {
            "provider": self.provider, "endpoint": self.endpoint, "model_name": self.model_name,
            "credential": self.credential,
            "max_client_batch_size": str(self.max_client_batch_size) if self.max_client_batch_size else "",
        }  # fmt: skip
        return {**self.options, **{key: value for key, value in named.items() if value}}


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How models are asked."""

    endpoints: tuple[str, ...] = (ANYWHERE,)
    """Where functions may send texts, besides the providers' own addresses: `localhost` (any port of this machine's
    loopback), `host`, `host:port`, `https://host`, `*.domain`, or `*` for anywhere."""
    seconds: float = 30.0
    """How long one request may take, repeats included."""
    tries: int = 3
    """How often a request is made at most."""
    reply_bytes: int = 64 * MIB
    """The largest reply that is read."""
    requests: int = 4
    """Requests of one insert or search at a time."""
    local_threads: int = 0
    """Threads that run local models and callables, so that no others are held up; 0: whoever asks runs them."""
    local_seconds: float = 120.0
    """With threads: how long one batch may wait for one of them and take there."""
    folder: str = ""
    """The folder of local models."""
    any_folder: bool = True
    """Whether a function may name any folder of this machine as its model, or one below `folder` only."""
    credentials: dict[str, Credential] = {}
    providers: dict[str, ProviderSettings] = {}
    deployments: dict[str, Deployment] = {}

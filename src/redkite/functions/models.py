"""What functions need to ask models: services over HTTP, models in a folder, callables of this process.

Nothing of it is imported before it is wanted: most databases have no function that asks a model.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import msgspec

from redkite.env import Env, Executor, away
from redkite.errors import FunctionFailed
from redkite.model.calling import FOLDER_VARIABLE, ModelSettings
from redkite.model.embeddings import RegisterEmbedding

if TYPE_CHECKING:
    from redkite.functions.http import Http
    from redkite.functions.local import LocalModel, Place
    from redkite.functions.targets import Targets

T = TypeVar("T")
MOST_LOADED = 8
"""Models of this machine that are kept."""


class Models:
    """Of one engine. Safe from any thread. `variables` is the environment."""

    def __init__(
        self, env: Env, settings: ModelSettings | None = None, variables: Mapping[str, str] | None = None
    ) -> None:
        self._env = env
        self._variables = os.environ if variables is None else variables
        self.settings = settings or ModelSettings()
        if self.settings.any_folder and not self.settings.folder:
            folder = self._variables.get(FOLDER_VARIABLE, "")
            self.settings = msgspec.structs.replace(self.settings, folder=folder)
        self._lock = Lock()
        self._http: Http | None = None
        self._targets: Targets | None = None
        self._callables: dict[str, RegisterEmbedding] = {}
        self._local: OrderedDict[Place, LocalModel] = OrderedDict()
        self._loading = Lock()
        self._computing: Executor | None = None

    @property
    def http(self) -> Http:
        """The one way to services."""
        with self._lock:
            if self._http is None:
                from redkite.functions.http import Http

                self._http = Http(self._env, self.settings)
            return self._http

    @property
    def targets(self) -> Targets:
        """Where services are, and their keys."""
        http = self.http
        with self._lock:
            if self._targets is None:
                from redkite.functions.keys import Keys
                from redkite.functions.targets import Targets

                self._targets = Targets(self._env, self.settings, http, Keys(self.settings, self._variables))
            return self._targets

    def register(self, name: str, embedding: RegisterEmbedding) -> None:
        """Make an embedding of this process known; one of the same name is replaced."""
        with self._lock:
            self._callables = {**self._callables, name: embedding}

    def registered(self, name: str) -> RegisterEmbedding | None:
        return self._callables.get(name)

    def local(self, place: Place) -> LocalModel:
        """A model of this machine; the last few that were used stay loaded. Raises InvalidParameter when there is none
        that can be used."""
        from redkite.functions.local import load

        with self._loading:  # one at a time; services can be asked meanwhile
            model = self._local.pop(place, None) or load(place)
            self._local[place] = model
            if len(self._local) > MOST_LOADED:
                self._local.popitem(last=False)
            return model

    def computed(self, who: str, work: Callable[[], T]) -> T:
        """What some work of this machine gives that may take long: on a thread of its own kind, where there are any.
        Raises FunctionFailed when it does not end in time; its thread is free again when it does end."""
        if not self.settings.local_threads:
            return work()
        with self._lock:
            if self._computing is None:
                self._computing = self._env.tasks.executor("models", self.settings.local_threads)
            computing = self._computing
        seconds = self.settings.local_seconds
        future = computing.submit(work)
        with away():
            try:
                return future.result(seconds)
            except TimeoutError as error:
                if future.done():  # the work says so itself
                    raise FunctionFailed(f"{who} raised TimeoutError: {error!s:.200}") from error
                was_begun = not future.cancel()
        what = "did not answer" if was_begun else f"was busy: none of {self.settings.local_threads} threads was free"
        raise FunctionFailed(f"{who} {what} in {seconds:g} s")

    def close(self) -> None:
        with self._lock:
            http, self._http, self._targets = self._http, None, None
            computing, self._computing = self._computing, None
        if computing is not None:
            computing.shutdown(wait=False)
        with self._loading:
            self._local.clear()
        if http is not None:
            http.close()

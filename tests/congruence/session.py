"""What a scenario has in its hands: calls whose outcomes are noted, and a broom for what they leave behind."""

from callers import NotOffered
from plain import plain, plain_text

_UNSET = object()


class Stopped(Exception):
    """The rest of a scenario makes no sense: what it needs could not be made."""


class Session:
    """Notes each call of one scenario. Names of calls are the method's, with a note where there are several."""

    def __init__(self, name, caller, write):
        self.name = name
        self.caller = caller
        self.kit = caller.kit
        self._write = write
        self._seen = {}
        self._made = []

    # -- calls --------------------------------------------------------------------------------------
    def call(self, method, *args, _note="", _code=None, _text="", _gives=_UNSET, **kwargs):
        """Call a method of the client and note what came of it. `_code` and `_text` say how it should fail, `_gives`
        what it should answer: the suite holds the reference to that. The answer is returned, None after a failure."""
        expected = {}
        if _code is not None:
            expected["expected_error"] = [_code, _text]
        if _gives is not _UNSET:
            expected["expected"] = plain(_gives)
        label = f"{method}: {_note}" if _note else method
        return self._note(label, lambda: self._invoke(method, args, kwargs), expected)

    def need(self, method, *args, **kwargs):
        """A call without which the scenario cannot go on; not noted when it works."""
        try:
            return self._invoke(method, args, kwargs)
        except NotOffered as error:
            raise Stopped(str(error)) from None
        except Exception as error:  # noqa: BLE001  whatever it is, it is this record's news
            raise Stopped(f"{method}: {plain_text(str(error))}") from None

    def do(self, label, work, _code=None, _text=""):
        """Note what comes of `work`: for interfaces that are not methods of one client."""
        return self._note(label, work, {} if _code is None else {"expected_error": [_code, _text]})

    def collection(self, fields, index=_UNSET, name=None, functions=(), load=True, **options):
        """A collection of this scenario, indexed and loaded: the `index` of each vector field is AUTOINDEX with the
        metric of its kind, unless it is given as {field: {...}}. None leaves it unindexed."""
        name = name or self.name
        options.setdefault("consistency_level", "Strong")  # what another server has just taken, it shows
        self.need("create", name, fields, self._index(fields, index), list(functions), load, **options)
        return name

    def clean_up(self):
        """Drop what was made, the latest first. What a scenario dropped itself is no news."""
        for method, names in reversed(self._made):
            try:
                self._invoke(method, names, {})
            except Exception:  # noqa: BLE001  what cannot be dropped is in nobody's way
                continue
        self._made.clear()

    # -- inside -------------------------------------------------------------------------------------
    def _invoke(self, method, args, kwargs):
        answer = self.caller.invoke(method, args, kwargs)
        broom = _BROOMS.get(method)
        if broom is not None:
            self._made.append((broom, args[:1]))
        return answer

    def _note(self, label, work, expected):
        count = self._seen[label] = self._seen.get(label, 0) + 1
        if count > 1:
            label = f"{label} #{count}"
        record = dict({"scenario": self.name, "call": label}, **expected)
        answer = None
        try:
            answer = work()
            record["answer"] = plain(answer)
        except NotOffered as error:
            record["not_offered"] = str(error)
        except Exception as error:  # noqa: BLE001  how a call fails is what is compared
            record["error"] = self.caller.error(error)
        self._write(record)
        return answer

    @staticmethod
    def _index(fields, index):
        if index is not _UNSET:
            return index
        return {
            name: {"index_type": "AUTOINDEX", "metric_type": _METRICS.get(kind, "COSINE")}
            for name, kind, _ in fields
            if kind.endswith("_VECTOR")
        }


_METRICS = {"BINARY_VECTOR": "HAMMING", "SPARSE_FLOAT_VECTOR": "IP"}
_BROOMS = {
    "create": "drop_collection",
    "create_collection": "drop_collection",
    "create_alias": "drop_alias",
    "create_database": "drop_database",
    "create_user": "drop_user",
    "create_role": "drop_role",
    "create_privilege_group": "drop_privilege_group",
    "create_resource_group": "drop_resource_group",
}

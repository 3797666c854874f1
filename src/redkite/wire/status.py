"""How an error travels: inside a `Status`, in a call that gRPC itself counts as a success."""

from __future__ import annotations

from typing import Any

from redkite.errors import MilvusException, from_code

_INPUT_ERROR = "is_input_error"
_OF_METHOD = {
    "CreateCredential": 29, "UpdateCredential": 30, "DeleteCredential": 31, "ListCredUsers": 33, "CreateRole": 35,
    "DropRole": 36, "OperateUserRole": 37, "SelectRole": 38, "SelectUser": 39, "OperatePrivilege": 41,
    "SelectGrant": 42, "CreatePrivilegeGroup": 58, "DropPrivilegeGroup": 59, "ListPrivilegeGroups": 60,
    "OperatePrivilegeGroup": 61,
}  # fmt: skip
"""Calls whose failures have an `error_code` of their own, whatever the reason."""
# What a server that knows only the old numbering says, in the new one.
_FROM_LEGACY = {4: 100, 5: 1100, 15: 200, 25: 700, 28: 100, 48: 9, 49: 8, 52: 3, 54: 7, 56: 1, 62: 109}


def write_status(status: Any, error: MilvusException, method: str = "") -> None:
    """Fill a `Status` with the error that a call of `method` ended with. An error of the caller's is never
    retriable."""
    status.code = error.code
    status.error_code = _OF_METHOD.get(method, error.compatible_code)
    status.reason = error.message
    status.detail = error.message
    if error.is_input_error:
        status.extra_info[_INPUT_ERROR] = "true"
    else:
        status.retriable = error.retriable


def raise_for_status(status: Any) -> None:
    """Raise the error a `Status` carries; return when it says success."""
    code, legacy = status.code, status.error_code
    if code == 0 and legacy == 0:
        return
    raise from_code(code or _FROM_LEGACY.get(legacy, 65535), status.reason or status.detail)

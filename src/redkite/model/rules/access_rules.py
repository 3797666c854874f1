"""Names of users, roles and groups of privileges, and passwords."""

from __future__ import annotations

import re
from collections.abc import Iterable

from redkite.errors import InvalidParameter
from redkite.model.limits import LIMITS, Limits
from redkite.model.privileges import ALL, GROUPS, OBJECT_OF, OLD_GROUPS

_USER_WORD = re.compile(r"[A-Za-z0-9_.-]", re.ASCII)
_ROLE_WORD = re.compile(r"[A-Za-z0-9_$]", re.ASCII)
_LETTER = re.compile(r"[A-Za-z]", re.ASCII)


def check_user_name(name: str, limits: Limits = LIMITS) -> str:
    if not name.strip():
        raise InvalidParameter("username must be not empty")
    most = limits.max_user_name
    if len(name.encode()) > most:
        raise InvalidParameter(
            f"invalid username {name} with length {len(name.encode())}, the length of username must be less than {most}"
        )
    start = f"invalid user name {name}, "
    if not _LETTER.match(name):
        raise InvalidParameter(f"{start}the first character must be a letter, but got {name[0]}")
    for char in name:
        if not _USER_WORD.match(char):
            raise InvalidParameter(
                f"{start}username must contain only numbers, letters, underscores, dots, and hyphens, but got {char}"
            )
    return name


def check_password(password: str, limits: Limits = LIMITS) -> str:
    """Between the lengths that are allowed, in bytes. The error never shows it."""
    size, least, most = len(password.encode()), limits.min_password, limits.max_password
    if not least <= size <= most:
        raise InvalidParameter(
            f"invalid password length: invalid parameter[{size} out of range {least} <= value <= {most}]"
        )
    return password


def check_role_name(name: str, limits: Limits = LIMITS, what: str = "role name") -> str:
    if not name.strip():
        raise InvalidParameter(f"{what} should be not empty", expected="not empty", actual="")
    if len(name.encode()) > limits.max_name_length:
        raise InvalidParameter(f"the length of {what} must be not greater than limit", expected=limits.max_name_length,
                               actual=len(name.encode()))  # fmt: skip
    if not (_LETTER.match(name) or name[0] == "_"):
        raise InvalidParameter(f"the first character of {what} should be a letter or underscore, found {name[0]}")
    for at, char in enumerate(name):
        if not _ROLE_WORD.match(char):
            allowed = "numbers, letters, underscores, and allowed characters ($)"
            raise InvalidParameter(f"{what} can only contain {allowed}, found {char} at {at}")
    return name


def check_description(text: str, limits: Limits = LIMITS) -> str:
    if len(text.encode()) > limits.max_role_description:
        raise InvalidParameter(
            "the length of the description must be not greater than limit",
            expected=limits.max_role_description, actual=len(text.encode()),
        )  # fmt: skip
    return text


def check_group_name(name: str) -> str:
    """Of a group that somebody defines: none that is built in, nor a privilege."""
    check_role_name(name, what="privilege group name")
    if name in GROUPS or name in OBJECT_OF or name == ALL or any(name == old for _, old in OLD_GROUPS):
        raise InvalidParameter(
            f"privilege group name [{name}] is defined by built in privileges or privilege groups in system"
        )
    return name


def check_privileges(names: Iterable[str], groups: frozenset[str]) -> None:
    """Each is a privilege, or one of the groups."""
    for name in names:
        if name not in OBJECT_OF and name not in groups:
            raise InvalidParameter(f"privilege [{name}] does not exist")

"""What every action is given, and how it reads its parameters."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shoal.control.api.callers import Caller
from shoal.control.api.faults import Fault, missing
from shoal.control.console import Console
from shoal.control.store.changes import Author
from shoal.core.console.fields import Check
from shoal.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a known caller."""

    console: Console
    caller: Caller
    author: Author
    parameters: Mapping[str, str]

    @property
    def account(self) -> str:
        """Whose things the call is about: the caller's."""
        return self.caller.account

    def text(self, name: str) -> str:
        """Return a parameter that has to be there.

        Raises:
            Fault: It is not.
        """
        return required(self.parameters, name)

    def checked(self, name: str, accepts: Check, *, default: str | None = None) -> str:
        """Return a parameter by its check; without a default it has to be there.

        Raises:
            Fault: It is not, or is not what it has to be.
        """
        text = self.text(name) if default is None else self.parameters.get(name) or default
        try:
            return accepts(text)
        except BadInput as error:
            raise invalid(name, str(error)) from error

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """Return a parameter that is `true` or `false`.

        Raises:
            Fault: It is neither, or absent and without a default.
        """
        value = self.parameters.get(name, "").lower()
        if not value and default is not None:
            return default
        if value not in ("true", "false"):
            raise missing(name) if not value else invalid(name, "true or false")
        return value == "true"


# What Container Registry's answers begin with.
DONE: Mapping[str, object] = {"Code": "success", "IsSuccess": True}

Action = Callable[[Asked], Awaitable[dict[str, object]]]


def required(parameters: Mapping[str, str], name: str) -> str:
    """Return a parameter that has to be there.

    Raises:
        Fault: It is not.
    """
    value = parameters.get(name)
    if not value:
        raise missing(name)
    return value


def whole(parameters: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """Return a parameter that is a whole number from `low` to `high`.

    Raises:
        Fault: It is not.
    """
    text = parameters.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise invalid(name, f"a number from {low} to {high}")
    return int(text)


def invalid(name: str, wanted: str) -> Fault:
    """Return the refusal of a parameter whose value cannot be used."""
    return Fault(400, f"InvalidParameter.{name}", f"The parameter {name} has to be {wanted}.")


def stamp(at_s: int) -> str:
    """Return a time as the API writes it, such as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

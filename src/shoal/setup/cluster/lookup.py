"""Where the registries come from that agents serve: the seam to the cloud, and a list by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """What a look-up came to."""

    names: tuple[str, ...] = ()
    """Registries as image references name them, beside those that are given by hand."""

    may_share: bool = True
    """Whether agents may exchange what comes from them: the console's switch."""

    remarks: tuple[str, ...] = ()
    """What an operator should know, a sentence each."""

    refusal: str = ""
    """Why it is not enough to begin with; empty if it is."""


class RegistryLookup(Protocol):
    """Knows, or asks for, the registries of an installation."""

    async def look_up(self) -> Registries:
        """Return all there is to know; may take some tries.

        Raises:
            ShoalError: nothing could be asked; `retryable` says whether it may pass.
        """
        ...

    async def may_share(self) -> bool:
        """Return whether agents may exchange pieces now; asked often, so cheap.

        Raises:
            ShoalError: it could not be asked.
        """
        ...

    async def uninstalled(self) -> None:
        """Say, where somebody keeps count, that this cluster runs the component no more.

        Raises:
            ShoalError: it could not be said.
        """
        ...


class ByHand:
    """No cloud: the registries are those of the values."""

    async def look_up(self) -> Registries:
        """Return nothing more than what is known."""
        return Registries()

    async def may_share(self) -> bool:
        """Return that nobody forbids it."""
        return True

    async def uninstalled(self) -> None:
        """Nobody keeps count."""


def with_names(by_hand: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the agent's `registries`: those by hand as they are, and those that were looked up."""
    registries = [dict(registry) for registry in by_hand]
    known = {name for one in registries for name in (one.get("name"), *(one.get("aliases") or ()))}
    return registries + [{"name": name} for name in names if name not in known]

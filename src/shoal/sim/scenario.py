"""A scenario: which nodes pull which image over which links, and what goes wrong.

Scenarios are YAML files; docs/sim.md describes every key, and a test keeps it to this schema.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from shoal.core.errors import BadInput
from shoal.core.swarm.policy import DEFAULT, Policy
from shoal.core.units import parse_duration, parse_rate, parse_size

SCENARIOS = Path(__file__).parent / "scenarios"


def _reader(parse: Callable[[str], float]) -> BeforeValidator:
    # A bare number is in the base unit, as in the settings.
    return BeforeValidator(lambda value: parse(str(value)) if value is not None else None)


Rate = Annotated[int, _reader(parse_rate), Field(gt=0)]
Size = Annotated[int, _reader(parse_size), Field(ge=0)]
Duration = Annotated[float, _reader(parse_duration), Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Registry(_Part):
    """Where bytes first come from."""

    rate: Rate
    """What its link carries, headers included."""
    per_connection: Rate | None = None
    """The most that one request gets."""
    round_trip: Duration = 0.001
    """Between any node and the registry."""
    first_byte: Duration = 0.005
    """From the request's arrival until the first byte of the answer leaves."""
    requests_per_s: Annotated[float, Field(gt=0)] | None = None
    """More requests in a second than these are answered 429."""
    burst: Annotated[int, Field(ge=1)] = 20
    """How many requests may come at once where `requests_per_s` is set."""
    retry_after: Duration = 1.0
    """What a 429 says in Retry-After."""


class Site(_Part):
    """Nodes that reach each other."""

    name: Name
    """What groups of nodes call it."""
    uplink: Rate | None = None
    """The link that all its nodes share towards the registry, headers included."""
    round_trip: Duration = 0.001
    """Between two of its nodes."""
    loss: Share = 0.0
    """Packets lost between two of its nodes; bounds each connection and delays messages."""
    apart_from: Name | None = None
    """A site that it fell apart from: both take all nodes for members, and reach their own only."""
    cut_at: Duration | None = None
    """When it loses its way to the registry, from the beginning of the first pull."""
    back_after: Duration | None = None
    """How long after that it has it again; never if not set."""


class Older(_Part):
    """Nodes that still have layers of an older tag."""

    share: Share = 1.0
    """Which part of the group."""
    layers: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """Which layers of the image, counted from 0."""


class Deaths(_Part):
    """Nodes that die during their pull."""

    share: Share
    """Which part of the group."""
    held: Share = 0.5
    """How much of the image a node has when it dies."""
    noticed_after: Duration = 4.0
    """How long until its peers notice: 4 s where it falls silent, 0 where its kernel says so."""
    back_after: Duration | None = None
    """When it starts again with what it had; never if not set."""


class View(_Part):
    """Nodes that know other members of their site than the rest do."""

    share: Share
    """Which part of the group."""
    lacks: Share = 0.5
    """How many of the others each of them does not know, at random."""
    until: Duration | None = None
    """When they know all, from the beginning of the first pull; never if not set."""


class Nodes(_Part):
    """A group of like nodes."""

    name: Name = "nodes"
    """What results call it."""
    count: Annotated[int, Field(ge=1, le=100_000)]
    """How many."""
    site: Name = "site"
    """Where they are."""
    rate: Rate
    """What each node's link carries each way, headers included."""
    up: Rate | None = None
    """The same for sending, where it differs."""
    latency: Duration = 0.0
    """What their own access link adds to every message, one way."""
    start: Duration = 0.0
    """When the first of them begins its pull."""
    stagger: Duration = 0.0
    """Over how long a time the others follow, at random moments."""
    older: Older | None = None
    """Layers that some have from an older tag."""
    dies: Deaths | None = None
    """Which of them die."""
    view: View | None = None
    """Which of them know only some members of their site."""
    full: bool = False
    """Whether their disks are full: they pull from the registry and keep nothing."""
    idle: bool = False
    """Whether they are members of the site that pull nothing."""
    healthy: bool = True
    """Whether they count in the figures of the whole; slow nodes have their own row."""


class Layer(_Part):
    """Layers of the image that are alike."""

    size: Size
    """Of each, in bytes."""
    count: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many."""


class Scenario(_Part):
    """One rollout."""

    title: Annotated[str, Field(min_length=1, max_length=100)]
    """What is shown, in a few words."""
    about: str = ""
    """Why it is there, where its numbers come from, and what it leaves out."""
    seed: int = 1
    """Of every random choice."""
    until: Duration = 3600.0
    """When to give up, in virtual time."""
    registry: Registry
    """The registry."""
    sites: list[Site] = [Site(name="site")]
    """The sites; by default one, named `site`."""
    nodes: list[Nodes] = Field(min_length=1)
    """The nodes, in groups."""
    image: list[Layer] = Field(min_length=1)
    """Its layers, in the manifest's order."""
    layers_at_once: Annotated[int, Field(ge=1)] = 3
    """How many layers a client reads at the same time; containerd reads 3."""
    verify: Rate | None = 1_600_000_000
    """How fast a node hashes a whole layer; null for at once."""
    piece_delay: Duration = 0.002
    """From a piece's last byte until it is checked, kept, and told of."""
    block: Size = 0
    """Bytes sent in one turn; 0 for a quarter of a piece, at least 128 KiB and at most 1 MiB."""
    policy: dict[str, float] = {}
    """Numbers of `shoal.core.swarm.policy.Policy` that differ from the agent's."""

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: dict[str, float]) -> dict[str, float]:
        known = {field.name for field in fields(Policy)}
        for name in value:
            if name not in known:
                raise ValueError(f"{name} is no number of the policy; known: {sorted(known)}")
        return value

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        sites = [site.name for site in self.sites]
        if len(set(sites)) != len(sites):
            raise ValueError(f"two sites have the same name: {sites}")
        for site in self.sites:
            if site.apart_from and site.apart_from not in sites:
                raise ValueError(
                    f"site {site.name} is apart from {site.apart_from}; there is {sites}"
                )
            if site.back_after is not None and site.cut_at is None:
                raise ValueError(f"site {site.name} comes back and is never cut off")
        names = [group.name for group in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError(f"two groups of nodes have the same name: {names}")
        for group in self.nodes:
            if group.site not in sites:
                raise ValueError(f"group {group.name} is in site {group.site}; there is {sites}")
            if group.older and max(group.older.layers) >= len(self.layers):
                raise ValueError(
                    f"group {group.name} has layer {max(group.older.layers)} of an older tag, and "
                    f"the image has {len(self.layers)}"
                )
        if not any(group.healthy and not group.idle for group in self.nodes):
            raise ValueError("no group of nodes pulls and is healthy: there is nothing to measure")
        return self

    @property
    def layers(self) -> list[int]:
        """The size of each layer in bytes, in order."""
        return [layer.size for layer in self.image for _ in range(layer.count)]

    @property
    def image_bytes(self) -> int:
        """Size of the image."""
        return sum(self.layers)

    def make_policy(self) -> Policy:
        """Return what the nodes decide by."""
        values: dict[str, Any] = {}
        for field in fields(Policy):
            default = getattr(DEFAULT, field.name)
            if field.name in self.policy:
                values[field.name] = type(default)(self.policy[field.name])
        return Policy(**values)


def read(text: str, *, source: str) -> Scenario:
    """Return the scenario that a YAML text describes.

    Args:
        text: the YAML.
        source: where it is from, for errors.

    Raises:
        BadInput: it is no YAML or no scenario; the message names every key that is wrong.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{source} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{source} is no scenario: it holds no keys")
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, problem['loc'])) or 'scenario'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise BadInput("\n".join([f"{source} is no scenario:", *lines])) from error


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with Shoal, by name."""
    return {path.stem: path for path in sorted(SCENARIOS.glob("*.yaml"))}


def load(name: str) -> Scenario:
    """Return a scenario by the name of one that is shipped, or from a file.

    Raises:
        BadInput: there is none, it cannot be read, or it is wrong.
    """
    path = shipped().get(name) or Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped())
        raise BadInput(
            f"{name} is no scenario that comes with Shoal ({known}), and no file that can be "
            f"read: {error}"
        ) from error
    return read(text, source=path.name)

"""Every metric of the agent, declared here and nowhere else; docs/metrics.md is generated from it.

Names are `shoal_<noun>_<unit>`, with `_total` on counters. No label holds a digest, a peer, a path
or a repository: a label's values are a short list that is known beforehand.
"""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shoal.core.trust.identity import Reason

# From a blob in the store over loopback to a layer over a slow link.
_REQUEST_BUCKETS_S = (0.005, 0.02, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0, 120.0)
# From an idle loop to the supervisor's patience of 3 s.
_LAG_BUCKETS_S = (0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 3.0)

Labels = Mapping[str, tuple[str, ...]]  # label -> its values, or none if they are not listed here


def _level(help_: str, *, counter: bool = False, default: float = 0) -> float:
    # typed as the value, so that the class below reads as a plain dataclass
    return field(default=default, metadata={"help": help_, "counter": counter})


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What is true at the moment of a scrape; read from the agent's state, kept by nobody.

    A field's name is the metric's without `shoal_` (and, for counters, without `_total`).
    """

    transfers_active: float = _level("Blobs that are arriving at this node.")
    leases_held: float = _level("Pieces that this node has leased to fetch from a registry.")
    leases_granted: float = _level(
        "Leases that this node, as tracker, has given out.", counter=True
    )
    leases_lapsed: float = _level(
        "Leases that this node, as tracker, took back because their holder showed no progress.",
        counter=True,
    )
    pieces_doubted: float = _level(
        "Pieces that this node, as tracker, leased anew because nobody could get them from a peer.",
        counter=True,
    )
    peers_connected: float = _level("Peers that a connection is open with.")
    peers_refused: float = _level(
        "Connections of peers that were refused since limits.peer_connections were open.",
        counter=True,
    )
    peer_connections_limit: float = _level("Most connections with peers (limits.peer_connections).")
    peer_certificate_expiry_timestamp_seconds: float = _level(
        "When this node's certificate for its peers ends, in Unix time; 0 where they speak plain "
        "TCP."
    )
    members: float = _level("Members of the site that this node knows, itself included.")
    access_grants: float = _level("What registries said yes to, and this node remembers.")
    access_tokens: float = _level("Tokens whose account this node knows.")
    front_questions: float = _level("Questions to registries that clients of the front wait for.")
    store_used_bytes: float = _level("Bytes that whole and partial blobs take in the store.")
    store_quota_bytes: float = _level("Bytes that they may take.")
    store_blobs: float = _level("Whole blobs in the store.")
    store_blobs_dropped: float = _level(
        "Whole blobs that were found damaged, cut short or gone, and dropped.", counter=True
    )
    store_scrubbed_bytes: float = _level(
        "Bytes of the store that were read again to look for damage.", counter=True
    )
    limit_upload_bytes_per_second: float = _level(
        "Most that goes to peers in a second (limits.upload_bytes_per_s); 0 if there is no limit."
    )
    limit_download_bytes_per_second: float = _level(
        "Most that comes from peers and registries in a second (limits.download_bytes_per_s); 0 if "
        "there is no limit."
    )
    limit_registry_bytes_per_second: float = _level(
        "Most that comes from registries in a second (limits.registry_bytes_per_s); 0 if there is "
        "no limit."
    )
    config_last_reload_successful: float = _level(
        "Whether the settings were right when they were last read: at the start, or on SIGHUP.",
        default=1,
    )
    config_last_reload_success_timestamp_seconds: float = _level(
        "When settings that were right were last read, in Unix time."
    )


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric for documentation.

    `labels` has each label's values, or none where they are routes, causes, codes or versions.
    """

    name: str
    kind: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Metrics:
    """The agent's metrics, kept in the registry that is passed in."""

    def __init__(self, registry: CollectorRegistry, *, version: str = "") -> None:
        # A switch of the whole library: timestamps of creation double every counter's series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self.declared: list[Declared] = []
        self._levels: Callable[[], Levels] = Levels

        self.front_requests = self._counter(
            "shoal_front_requests",
            "Requests that the front answered, by route and HTTP status.",
            labels={"route": (), "status": ()},
        )
        self.front_request_seconds = self._histogram(
            "shoal_front_request_seconds",
            "Time from a request's head to the end of its answer, by route.",
            _REQUEST_BUCKETS_S,
            labels={"route": ()},
        )
        self.front_sent_bytes = self._counter(
            "shoal_front_sent_bytes",
            "Bytes of content that went to clients, by route.",
            labels={"route": ()},
        )
        self.front_refusals = self._counter(
            "shoal_front_refusals",
            "Requests and connections that got no content or not all of it, by cause.",
            labels={"cause": ()},
        )
        self.front_connections = self._gauge(
            "shoal_front_connections", "Connections of clients that are open."
        )
        self.blobs_served = self._counter(
            "shoal_blobs_served",
            "Blobs opened for clients, by where they were: here already, or to be fetched.",
            labels={"source": ("store", "swarm")},
        )
        self.transfers = self._counter(
            "shoal_transfers",
            "Transfers that ended, by result; `released` if nobody wanted the blob any more, "
            "`rejected` if its digest was wrong.",
            labels={"result": ("stored", "released", "rejected", "failed")},
        )
        self.origin_requests = self._counter(
            "shoal_origin_requests",
            "Requests to registries and their storage, by result; `denied` for 401 and 403, "
            "`limited` for 429, `lied` for a wrong length, range or bytes, `stopped` where the "
            "rest was no longer needed.",
            labels={"result": ("ok", "denied", "limited", "lied", "failed", "stopped")},
        )
        self.origin_bytes = self._counter(
            "shoal_origin_bytes",
            "Bytes of content that registries and their storage sent, by kind.",
            labels={"kind": ("blob", "manifest")},
        )
        self.peer_received_bytes = self._counter(
            "shoal_peer_received_bytes", "Bytes of pieces that peers sent to this node."
        )
        self.peer_sent_bytes = self._counter(
            "shoal_peer_sent_bytes", "Bytes of pieces that this node sent to peers."
        )
        self.pieces_stored = self._counter(
            "shoal_pieces_stored",
            "Pieces that arrived and were right, by source.",
            labels={"source": ("peer", "origin")},
        )
        self.pieces_failed = self._counter(
            "shoal_pieces_failed",
            "Pieces that did not arrive or were dropped, by reason; `hash` for wrong bytes, "
            "`receipt` for those that nobody vouches for who is believed.",
            labels={"reason": ("hash", "receipt", "cut", "registry")},
        )
        self.receipts_signed = self._counter(
            "shoal_receipts_signed", "Receipts for pieces that this node has signed."
        )
        self.receipts_checked = self._counter(
            "shoal_receipts_checked",
            "Signatures of receipts that were checked, by result.",
            labels={"result": ("right", "wrong")},
        )
        self.signers_named = self._counter(
            "shoal_signers_named",
            "Members found to have vouched for wrong bytes, and left out; the log names each, as "
            "`peer_vouched_for_wrong_bytes`.",
        )
        self.peer_certificate_reloads = self._counter(
            "shoal_peer_certificate_reloads",
            "New versions of the files in peer.tls, by result; after `failed` the old one stays.",
            labels={"result": ("ok", "failed")},
        )
        self.peer_handshakes_refused = self._counter(
            "shoal_peer_handshakes_refused",
            "Connections between this node and others that ended since one refused the other for "
            "what it showed, by reason; `refused_by_peer` where this node was.",
            labels={"reason": tuple(Reason)},
        )
        self.leases_lost = self._counter(
            "shoal_leases_lost", "Leases of this node that ended without their piece."
        )
        self.event_loop_lag_seconds = self._histogram(
            "shoal_event_loop_lag_seconds",
            "How late the event loop came to what was due, measured twice a second. At 3 s the "
            "supervisor ends the agent.",
            _LAG_BUCKETS_S,
        )

        self._build = Info("shoal_build", "Version of Shoal and of Python.", registry=registry)
        self._build.info({"version": version, "python": platform.python_version()})
        self._declare(
            "shoal_build_info",
            "gauge",
            "Always 1; the labels tell the versions of Shoal and of Python.",
            {"version": (), "python": ()},
        )
        for level in fields(Levels):
            name, is_counter = _level_name(level.name), bool(level.metadata["counter"])
            self._declare(
                f"{name}_total" if is_counter else name,
                "counter" if is_counter else "gauge",
                level.metadata["help"],
            )
        registry.register(_LevelsCollector(self))
        self._process_metrics()

    def read_levels_from(self, levels: Callable[[], Levels]) -> None:
        """Let scrapes call `levels`, in the event loop's thread; it must be cheap."""
        self._levels = levels

    def levels(self) -> Levels:
        """Return what is true now."""
        return self._levels()

    def _process_metrics(self) -> None:
        ProcessCollector(registry=self.registry)
        self.registry.register(_MemoryCollector())
        for name, kind, help_ in (
            ("process_cpu_seconds_total", "counter", "User and system time of the agent."),
            ("process_resident_memory_bytes", "gauge", "Resident memory, file pages included."),
            ("process_virtual_memory_bytes", "gauge", "Virtual memory."),
            ("process_start_time_seconds", "gauge", "When the agent started, in Unix time."),
            ("process_open_fds", "gauge", "Open file descriptors."),
            ("process_max_fds", "gauge", "Most file descriptors that may be open."),
            (_ANONYMOUS, "gauge", _ANONYMOUS_HELP),
        ):
            self._declare(name, kind, help_)

    def _declare(self, name: str, kind: str, help_: str, labels: Labels | None = None) -> None:
        self.declared.append(Declared(name, kind, help_, labels or {}))

    def _counter(self, name: str, help_: str, *, labels: Labels | None = None) -> Counter:
        self._declare(f"{name}_total", "counter", help_, labels)
        counter = Counter(name, help_, tuple(labels or ()), registry=self.registry)
        # A series that begins at 0 shows its first event as an increase; one that appears does not.
        if labels and all(labels.values()):
            for values in product(*labels.values()):
                counter.labels(*values)
        return counter

    def _gauge(self, name: str, help_: str) -> Gauge:
        self._declare(name, "gauge", help_)
        return Gauge(name, help_, registry=self.registry)

    def _histogram(
        self, name: str, help_: str, buckets: Sequence[float], *, labels: Labels | None = None
    ) -> Histogram:
        self._declare(name, "histogram", help_, labels)
        return Histogram(name, help_, tuple(labels or ()), buckets=buckets, registry=self.registry)


def _level_name(field_name: str) -> str:
    return f"shoal_{field_name}"


class _LevelsCollector(Collector):
    """Reads `Levels` at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """Return the names alone: registering must not call into an agent that is starting."""
        return list(self._families(Levels()))

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        """Return what is true now."""
        return list(self._families(self._metrics.levels()))

    def _families(self, levels: Levels) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        for level in fields(levels):
            family = CounterMetricFamily if level.metadata["counter"] else GaugeMetricFamily
            yield family(
                _level_name(level.name), level.metadata["help"], value=getattr(levels, level.name)
            )


_ANONYMOUS = "shoal_process_anonymous_bytes"
_ANONYMOUS_HELP = (
    "Resident memory of the agent that is no file's (RssAnon): what the agent itself costs, "
    "without the page cache of blobs it sends."
)


class _MemoryCollector(Collector):
    """Reads RssAnon, which the library's process metrics lack."""

    def __init__(self, status: Path = Path("/proc/self/status")) -> None:
        self._status = status

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the name alone."""
        return [GaugeMetricFamily(_ANONYMOUS, _ANONYMOUS_HELP)]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return what the kernel says now; nothing where it does not."""
        try:
            lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return []
        for line in lines:
            name, _, value = line.partition(":")
            if name == "RssAnon":
                kib = int(value.split()[0])
                return [GaugeMetricFamily(_ANONYMOUS, _ANONYMOUS_HELP, value=kib * 1024)]
        return []

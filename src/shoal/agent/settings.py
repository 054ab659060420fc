"""Every setting of the agent, its unit, its default and the reason for it.

A number is in the unit that its key ends in; text may carry a unit of its own (`20GiB`, `512MB/s`,
`2m`). Secrets are paths of files, never values. Where settings come from, and in which order, is
in settings_load.py; docs/settings.md is generated from this file.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from shoal.agent.settings_rules import contradictions
from shoal.agent.settings_types import (
    AbsolutePath,
    Address,
    BaseUrl,
    Count,
    HostName,
    KubernetesName,
    Member,
    NodeName,
    Port,
    Rate,
    RedirectHost,
    RegistryName,
    Seconds,
    SiteName,
    Size,
)
from shoal.core.endpoint import Endpoint

_MIB, _GIB = 1024**2, 1024**3


class Section(BaseModel):
    """What all sections share: no unknown keys, no change after loading, documented fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class FrontSettings(Section):
    """The registry front: the pull API that the container runtime of this node asks."""

    hosts: tuple[Address, ...] = Field(default=("127.0.0.1", "::1"), min_length=1)
    """IP addresses that the front listens on. Both loopback addresses, since `localhost` in a
    runtime's configuration may mean either; one that the machine lacks is skipped with a warning,
    unless it is the only one."""

    port: Port = 65001
    """TCP port of the front. 65001 is what distributed host names and existing mirror
    configurations use."""

    aliases: tuple[HostName, ...] = ()
    """Further host names, without port, that a request's Host header may carry beside localhost
    and the loopback addresses. They say nothing about the registry meant: for that see
    `registries`, `aliases`. None by default: an unexpected Host is how DNS rebinding shows."""

    allow_remote: bool = False
    """Whether the front may listen on, and answer to, addresses beyond loopback. Off, since
    everyone who reaches such a front may use this node as a relay."""


class PeerTlsSettings(Section):
    """The node's certificate for its peers, in PEM; docs/certificates.md tells how to make it.

    Files are looked at every 2 s: a new version is put into force without a restart, and one that
    cannot be used changes nothing.
    """

    certificate: AbsolutePath | None = None
    """File with this node's certificate, `tls.crt`: it names the cluster, the node, and the address
    by which peers know it."""

    key: AbsolutePath | None = None
    """File with the certificate's private key, `tls.key`: Ed25519 or P-256, not encrypted, and
    readable by its owner and group at most."""

    ca: AbsolutePath | None = None
    """File with the authorities whose certificates are believed, `ca.crt`: the cluster's, and while
    it is replaced both."""

    revoked: AbsolutePath | None = None
    """File with the list of revoked certificates by each of them, `revoked.crl`. None: none is."""

    @property
    def is_complete(self) -> bool:
        """Whether there is all that peers must have."""
        return None not in (self.certificate, self.key, self.ca)


class PeerSettings(Section):
    """The peer API: what other agents of the site ask."""

    hosts: tuple[Address, ...] = Field(default=("0.0.0.0", "::"), min_length=1)  # noqa: S104
    """IP addresses that the peer API listens on. All, since a node's own address is often not
    known before it runs; one that the machine lacks is skipped with a warning."""

    port: Port = 65002
    """TCP port of the peer API, and of every member that is named without one."""

    address: Address | None = None
    """IP address at which other members reach this node; with `port` it is this node's name among
    them. None: the one member of the list that is an address of this machine."""

    plaintext: bool = False
    """Whether peers speak plain TCP, without certificates and receipts: for trials on a network
    where nobody else is, since whoever reaches `port` may then have every blob of the site. All
    nodes of a site have the same."""

    tls: PeerTlsSettings = PeerTlsSettings()
    """The node's certificate."""


class ExporterSettings(Section):
    """Prometheus metrics, health and the debug page; nothing there changes or reads content."""

    enabled: bool = True
    """Whether the exporter listens. Health is served by the front in any case."""

    hosts: tuple[Address, ...] = Field(default=("0.0.0.0", "::"), min_length=1)  # noqa: S104
    """IP addresses that the exporter listens on. All, since Prometheus asks from other nodes."""

    port: Port = 65003
    """TCP port of the exporter, next to the agent's other two."""


class StoreSettings(Section):
    """The node's folder of blobs."""

    path: AbsolutePath = Path("/var/lib/shoal")
    """Folder for blobs, on a disk with room for `quota_bytes`; made if it is missing."""

    quota_bytes: Size = 20 * _GIB
    """Bytes that whole and partial blobs may take together; the least recently used go first.
    20 GiB holds the largest layer that is supported, 20 GB."""

    reserve_bytes: Size = 1 * _GIB
    """Bytes of the disk that are left free for others, whatever the quota says; below it blobs
    pass through unkept. 1 GiB keeps a node below the kubelet's disk pressure on small disks."""

    scrub_bytes_per_s: Size = 20 * _MIB
    """Most bytes that are read in a second to look for damaged blobs, and only while no blob
    arrives or is asked for. 20 MiB/s reads a full store in 17 minutes and is a tenth of what a
    slow disk can do. 0: stored blobs are not read again."""

    scrub_interval_s: Seconds = 604800.0
    """Seconds between two such rounds; the first begins a minute after the start. A week, as RAID
    arrays and file systems are scrubbed on Debian every month: a cache costs less to be right."""


class RegistrySettings(Section):
    """One registry that the front serves; any other is an immediate 404."""

    name: RegistryName
    """The registry as image references name it, with its port if that is not 443: `docker.io`,
    `registry.example.com:5000`."""

    url: BaseUrl = ""
    """Base URL that is asked for it. Empty: `https://` and the name (`http://` with `plain_http`;
    registry-1.docker.io for docker.io)."""

    plain_http: bool = False
    """Whether the registry may be asked without TLS. Off: credentials and content of a plain-HTTP
    registry are open to everyone on the path."""

    ca_file: AbsolutePath | None = None
    """PEM file of certificate authorities for this registry and its storage. None: the system's."""

    aliases: tuple[RegistryName, ...] = ()
    """Other names by which requests mean this registry: in `ns`, in the Host header, or as first
    part of the path. docker.io has index.docker.io and registry-1.docker.io without saying so."""

    default: bool = False
    """Whether requests that name no registry mean this one; for one registry at most."""

    access: Literal["client", "node"] = "client"
    """Whose credential is shown to the registry: `client`, the one that the runtime sends; `node`,
    this node's own, of `credentials_file`, for a runtime that keeps pull secrets from mirrors.
    Everything that the node's credential may read is then read by whoever may start a pod here."""

    credentials_file: AbsolutePath | None = None
    """File with this node's credential, as `docker login` writes it (`config.json`), mode 0600; it
    is read again when it changes. For `access: node` only."""

    realm_hosts: tuple[RedirectHost, ...] = ()
    """Hosts (`host`, `host:port`, `*.domain`) of token servers that may be shown this node's own
    credential, besides the registry's own host (and auth.docker.io for docker.io)."""

    checks_pushed_manifests: bool = True
    """Whether the registry refuses a pushed manifest that lists blobs which the pusher may not
    read, as distribution, Harbor and ACR do. Then a manifest that it serves proves access to what
    it lists. Off: the registry is asked for each blob once more, by HEAD."""

    redirect_hosts: tuple[RedirectHost, ...] = ()
    """Hosts (`host`, `host:port`, `*.domain`) to which the registry may redirect a download. Empty:
    any host."""

    allow_private_redirects: bool = False
    """Whether a redirect may lead to a loopback, link-local or metadata address. Off, since a
    registry could make this node ask its own services."""

    serve_stale_tags: bool = True
    """Whether the last manifest seen for a tag is served, marked with `Warning: 110`, while the
    registry cannot be reached. On: an outage must not stop a node from starting what it ran."""

    @property
    def base_url(self) -> str:
        """The URL to ask: `url`, or what follows from `name`."""
        if self.url:
            return self.url
        if self.name == "docker.io":
            return "https://registry-1.docker.io"
        return f"{'http' if self.plain_http else 'https'}://{self.name}"

    @property
    def names(self) -> frozenset[str]:
        """Every name that means this registry."""
        built_in = ("index.docker.io", "registry-1.docker.io") if self.name == "docker.io" else ()
        return frozenset((self.name, *self.aliases, *built_in))


class AccessSettings(Section):
    """How long a registry's yes to a credential is remembered."""

    ttl_s: Seconds = 300.0
    """Seconds for which a registry's yes to (repository, digest, credential) serves further
    requests. 5 minutes, the usual life of a registry token."""

    outage_grace_s: Seconds = 86400.0
    """Seconds for which a yes still counts while the registry cannot be reached. A day, so that
    an overnight outage stops nobody."""


class KubernetesSettings(Section):
    """The Service whose ready endpoints are the members, and the API server that knows them."""

    namespace: KubernetesName
    """Namespace of the Service."""

    service: KubernetesName
    """Name of the Service. Members are at the port that it calls `peer`, at its port if it has one
    only, else at `peer.port`. Of a pod with addresses of both families the one of `peer.address`'s
    counts."""

    server: BaseUrl = ""
    """Base URL of the API server, https. Empty: what the kubelet tells the pod, in
    KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT."""

    account_dir: AbsolutePath = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Folder with the `token` that is shown to the API server and the `ca.crt` that it must have,
    read again for each request and connection. Where the kubelet mounts them into every pod. The
    account must be allowed to list and watch `endpointslices` in `namespace`, and
    `sites_config_map`."""

    sites_config_map: KubernetesName | None = None
    """ConfigMap of `namespace` from which `membership.sites_file` is mounted, as the key of the
    file's name. It is watched, since a kubelet takes a minute to bring a change into the file: so a
    node that joins a site is known to the others within 3 s of its endpoint. The file counts until
    the API server has answered. None: the file alone counts."""


class MembershipSettings(Section):
    """Who is in this node's site."""

    site: SiteName = "default"
    """Name of the site: nodes that reach each other cheaply. No traffic crosses sites."""

    static: tuple[Member, ...] = ()
    """Members as `host:port`, IPv6 addresses in brackets; without a port, `peer.port`. May name
    this node itself, so that all nodes can have the same list."""

    dns: HostName | None = None
    """Name whose A and AAAA records are the members, all at `peer.port`: a headless service, say.
    None: only `static`. Both may be set; the members are those of either."""

    kubernetes: KubernetesSettings | None = None
    """Members from a Kubernetes Service, by watching its EndpointSlices: they change within
    seconds, and while the API server is away the last ones known stay. `peer.address` must be set
    too. None: from `static` and `dns`, neither of which may be set beside it."""

    node: NodeName | None = None
    """Name of this node in Kubernetes, by which `sites_file` knows it: as the variable
    SHOAL_MEMBERSHIP__NODE from the pod's spec.nodeName."""

    sites_file: AbsolutePath | None = None
    """YAML file that maps nodes' names to sites, where nodes of several share
    `kubernetes.service`; `"*"` is every node that is not named. Members on nodes of other sites are
    left out, and so is everybody for a node of which it says nothing. Read again within 5 s of a
    change. None: all of the Service's endpoints are one site."""

    dns_refresh_s: Seconds = 10.0
    """Seconds between two look-ups of `dns`, give or take a tenth. 10 s is below the 30 s for
    which cluster DNS usually caches."""

    dns_timeout_s: Seconds = 5.0
    """Seconds after which a look-up counts as failed; the last known members stay. 5 s is the
    resolver's own default for one try."""


class SwarmSettings(Section):
    """How pieces move between peers and from the registry."""

    neighbours: Count = 16
    """Peers that a blob is exchanged with at once. 16 comes within 10 % of ideal at 1,000 nodes;
    more cost messages and gain little."""

    max_transfers: Count = 128
    """Blobs that arrive at once; more wait their turn. As many as the layers of a few images."""

    registry_fetches: Count = 2
    """Requests to registries at once on this node: the second hides the gap between two."""

    linger_s: Seconds = 30.0
    """Seconds for which a blob still arrives after its last client has left, unless peers need it.
    30 s is longer than containerd takes to come back after a cut."""

    trace_dir: AbsolutePath | None = None
    """Folder for a file with everything that this agent's swarm is told and decides, from which a
    fault can be replayed; made if it is missing. It names blobs and peers, holds no content and no
    credential, and grows to 1 GiB. None: it is not written, and costs nothing."""


class LimitsSettings(Section):
    """What it may take of network and memory; rates are for all blobs, in even shares."""

    upload_bytes_per_s: Rate | None = None
    """Bytes of blobs a second that go to peers, averaged over about a second; at least 500kbit/s.
    None: as many as the network takes. What goes to this node's own clients is never limited."""

    download_bytes_per_s: Rate | None = None
    """Bytes of blobs a second that come from peers and registries together; at least 500kbit/s.
    None: as many as the network gives."""

    registry_bytes_per_s: Rate | None = None
    """Bytes of blobs a second that come from registries; at least 500kbit/s. They count towards
    `download_bytes_per_s` too. None: only that holds."""

    peer_connections: Count = 1024
    """Connections with peers at once. A peer beyond them is told so and takes it for no fault; an
    eighth is kept for peers that this node wants. A blob uses `swarm.neighbours`, and its tracker
    one of each node."""

    client_connections: Count = 1024
    """Connections with clients of the front at once. One containerd with 50 pulls of 3 layers each
    has 150. More are answered 404, on which a runtime asks the registry itself; twice as many are
    dropped."""

    memory_bytes: Size = Field(default=48 * _MIB, ge=8 * _MIB)
    """Memory for bytes from peers that are not on the disk yet. When it is full the agent reads no
    more from peers until something is written. The agent takes some 60 MB beside it, and 3 MB for
    each of `swarm.registry_fetches`."""


class ContainerdSettings(Section):
    """What the agent may use of this node's containerd."""

    content_dir: AbsolutePath | None = None
    """Folder of containerd's content store, usually
    /var/lib/containerd/io.containerd.content.v1.content, read only: its blobs are shared with
    peers. None: they are not."""


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe record that is written."""

    format: Literal["json", "text"] = "json"
    """`json`: one object a line, for collectors. `text`: short lines for people."""


class SupervisorSettings(Section):
    """The small parent process that replaces an agent which hangs or dies."""

    enabled: bool = True
    """Whether a silent agent is killed and a dead one restarted. A process that hangs still
    accepts connections, and containerd waits for it for ever."""

    heartbeat_timeout_s: Seconds = Field(default=3.0, ge=1.0)
    """Seconds of silence after which the agent is killed. 3 s is six missed beats: longer than
    any pause of a healthy agent, shorter than a client's patience."""


class AgentSettings(Section):
    """All settings of `shoal agent`."""

    front: FrontSettings = FrontSettings()
    """The registry front."""

    peer: PeerSettings = PeerSettings()
    """The peer API."""

    exporter: ExporterSettings = ExporterSettings()
    """Metrics and health."""

    store: StoreSettings = StoreSettings()
    """The folder of blobs."""

    registries: tuple[RegistrySettings, ...] = ()
    """The registries that the front serves. None by default: a request for any other is answered
    404, on which the runtime asks the registry itself."""

    access: AccessSettings = AccessSettings()
    """How long a registry's yes is remembered."""

    membership: MembershipSettings = MembershipSettings()
    """Who is in this node's site."""

    swarm: SwarmSettings = SwarmSettings()
    """How pieces move."""

    limits: LimitsSettings = LimitsSettings()
    """What it may take."""

    containerd: ContainerdSettings = ContainerdSettings()
    """What the agent may use of containerd."""

    log: LogSettings = LogSettings()
    """What is written to standard error."""

    supervisor: SupervisorSettings = SupervisorSettings()
    """The parent process."""

    reload_interval_s: Seconds | None = None
    """Seconds between two looks at whether the settings file is another one, which is then read
    again as on SIGHUP: for a pod, where nobody sends that and the kubelet changes the file. None:
    only on SIGHUP."""

    drain_timeout_s: Seconds = 25.0
    """Seconds that transfers under way may take to end after SIGTERM. 25 s leaves 5 s of the 30 s
    that Kubernetes gives a pod."""

    @property
    def static_members(self) -> tuple[Endpoint, ...]:
        """`membership.static`, with `peer.port` where a member names no port."""
        return tuple(
            Endpoint.parse(text, default_port=self.peer.port) for text in self.membership.static
        )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if problems := contradictions(self):
            text = "; ".join(message for _, message in problems)
            raise PydanticCustomError(
                "contradiction", "{text}", {"text": text, "problems": problems}
            )
        return self

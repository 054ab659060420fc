"""Does an agent send a blob from its store as fast as nginx with sendfile sends the same file?

One agent with a blob of 1 GiB in its store, and an nginx with one worker that serves that very
file, on the loopback of one node. One client, the same for both, reads into one buffer and keeps
nothing. In a run each serves the blob four times, taking turns, and the two add up their times: the
figure is the agent's throughput over nginx's. What was read before is in the page cache, for both.

A run takes some 4 s; each reading is given up after 3 minutes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from bench.large_blob import LargeBlob, push_large_blob, read, wait_stored
from bench.ledger import Figure, Ledger, parser
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import Service

BOUND_OF_NGINX = 0.8
# Agent first, then nginx first: whatever drifts within a run adds to both.
_TURNS = ("agent", "nginx", "nginx", "agent") * 2
_NGINX_PORT = 8080
_START_TIMEOUT_S = 10.0

# As Debian ships it, but for paths, and without a log line for each request.
_NGINX_CONF = Template("""\
daemon off;
user root;
worker_processes 1;
pid $folder/nginx.pid;
error_log stderr warn;
events { worker_connections 768; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
  client_body_temp_path $folder/nginx-body;
  proxy_temp_path $folder/nginx-other;
  fastcgi_temp_path $folder/nginx-other;
  uwsgi_temp_path $folder/nginx-other;
  scgi_temp_path $folder/nginx-other;
  server {
    listen 127.0.0.1:$port;
    location = /blob { alias $file; }
  }
}
""")


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=5)
    options.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the blob (1024)")
    args = options.parse_args()
    ledger = Ledger("warm", question="Does a warm store send as fast as nginx with sendfile?")
    with Bed(nodes=1) as bed:
        blob = push_large_blob(bed, size_mib=args.size)
        node = bed.nodes[0]
        bed.start_agents()
        read(node, [blob.manifest_path, blob.blob_path], size_bytes=blob.size_bytes)
        with _nginx(node, wait_stored(node, blob)):
            runs = [_run(node, blob) for _ in range(args.runs)]
    _add(ledger, runs, blob.size_bytes)
    return ledger.finish(args)


@contextmanager
def _nginx(node: Node, file: Path) -> Iterator[None]:
    folder = node.folder / "nginx"
    folder.mkdir()
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX_CONF.substitute(folder=folder, file=file, port=_NGINX_PORT))
    service = Service(
        "nginx",
        node.command(["nginx", "-c", str(conf), "-p", str(folder)]),
        log=folder / "nginx.log",
    )
    service.start()
    try:
        url = f"http://127.0.0.1:{_NGINX_PORT}/blob"
        service.wait_until(
            lambda: node.run("curl", "-sfI", "--noproxy", "*", url, check=False).returncode == 0,
            timeout_s=_START_TIMEOUT_S,
        )
        yield
    finally:
        service.kill()


def _run(node: Node, blob: LargeBlob) -> dict[str, float]:
    """Return the seconds that each server took in all."""
    seconds = {"agent": 0.0, "nginx": 0.0}
    for server in _TURNS:
        if server == "agent":
            # The manifest is what lets this client have the blob; only the blob is timed.
            paths = [blob.manifest_path, blob.blob_path]
            seconds[server] += read(node, paths, size_bytes=blob.size_bytes)
        else:
            # Something small first as well, so that connecting is not part of either time.
            paths = ["/", "/blob"]
            seconds[server] += read(node, paths, size_bytes=blob.size_bytes, port=_NGINX_PORT)
    print(f"agent {seconds['agent']:.2f} s, nginx {seconds['nginx']:.2f} s", file=sys.stderr)
    return seconds


def _add(ledger: Ledger, runs: list[dict[str, float]], size_bytes: int) -> None:
    sent = size_bytes * len(_TURNS) / 2
    ledger.add(
        Figure.at_least(
            "of_nginx",
            [run["nginx"] / run["agent"] for run in runs],
            bound=BOUND_OF_NGINX,
            unit="x nginx",
        )
    )
    for server in ("agent", "nginx"):
        rates = [sent / run[server] / 1e9 for run in runs]
        ledger.add(Figure.shown(f"{server}_rate", rates, unit="GB/s", more_is_better=True))


if __name__ == "__main__":
    sys.exit(main())

"""What is printed beside a demo that is left running."""

import tomllib
from pathlib import Path

import pytest

from shoal.core.reference import Reference
from shoal.testing.demo.addresses import Addresses, NodeAddress
from shoal.testing.demo.hints import hints, hosts_toml, write_hosts_toml
from shoal.testing.image import random_image

REFERENCE = Reference("registry.test", "shoal/demo", "latest")
NODES = tuple(NodeAddress(f"127.1.2.{number}") for number in (1, 2))
ADDRESSES = Addresses("127.1.2.254", 5000, NODES)


def test_containerd_is_sent_to_the_agent_first_and_then_to_the_registry(tmp_path: Path) -> None:
    folder = write_hosts_toml(tmp_path, REFERENCE, ADDRESSES)
    said = tomllib.loads((folder / "registry.test" / "hosts.toml").read_text())
    assert said == {
        "server": "http://127.1.2.254:5000",
        "host": {"http://127.1.2.1:65001": {"capabilities": ["pull", "resolve"]}},
    }


@pytest.mark.parametrize("count", [1, 2])
def test_commands_name_what_is_running(tmp_path: Path, count: int) -> None:
    image = random_image(tmp_path / "image", layer_bytes=[10, 2000], seed=1)
    addresses = Addresses("127.1.2.254", 5000, NODES[:count])
    said = hints(REFERENCE, image, addresses, hosts_folder=tmp_path / "certs.d")
    name = "registry.test/shoal/demo:latest"
    assert f"docker pull 127.1.2.1:65001/{name}" in said
    assert f"ctr images pull --hosts-dir {tmp_path}/certs.d {name}" in said
    assert all(line.strip() in said for line in hosts_toml(addresses).splitlines())
    largest = image.layers[1].digest
    assert f"/v2/shoal/demo/blobs/{largest}?ns=registry.test" in said
    assert ("127.1.2.2:65001" in said) == (count == 2)

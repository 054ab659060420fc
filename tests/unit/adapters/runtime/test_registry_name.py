"""RegistryName: which folders containerd looks in, and where the registry is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import BadInput


@pytest.mark.parametrize("alias", ["docker.io", "index.docker.io", "https://registry-1.docker.io/"])
def test_docker_hub_has_one_name_and_its_own_server(alias: str) -> None:
    name = RegistryName.parse(alias)
    assert name.text == "docker.io"
    assert name.server() == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("quay.io", ("quay.io",)),
        ("Registry.Example.com:5000", ("registry.example.com_5000_", "registry.example.com:5000")),
        ("10.0.0.7:5000", ("10.0.0.7_5000_", "10.0.0.7:5000")),
        ("[fd00::7]:5000", ("[fd00::7]_5000_", "[fd00::7]:5000")),
        ("[fd00::7]", ("[fd00::7]",)),
        ("_default", ("_default",)),
    ],
)
def test_folders_are_those_of_containerd_in_its_order(text: str, folders: tuple[str, ...]) -> None:
    assert RegistryName.parse(text).folder_names() == folders


@pytest.mark.parametrize(
    "text", ["127.0.0.1:5000", "localhost:5000", "[::1]:5000", "127.9.9.9", "localhost"]
)
def test_a_loopback_registry_is_left_to_containerd_unless_plain_http_is_said(text: str) -> None:
    assert RegistryName.parse(text).server() is None
    assert RegistryName.parse(text).server(plain_http=True) == f"http://{text}"


def test_other_registries_speak_https_unless_plain_http_is_said() -> None:
    name = RegistryName.parse("r.example.com:5000")
    assert name.server() == "https://r.example.com:5000"
    assert name.server(plain_http=True) == "http://r.example.com:5000"


def test_the_default_folder_has_no_server() -> None:
    assert RegistryName.parse("_default").server(plain_http=True) is None


@pytest.mark.parametrize(
    "text", ["", "..", "a/b", "../x", "a..b", "a:b", "a:0", "a:65536", "a b", "-a", "a" * 300]
)
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a registry"):
        RegistryName.parse(text)


@given(st.text(max_size=40))
def test_no_name_leads_out_of_the_folder(text: str) -> None:
    try:
        names = RegistryName.parse(text).folder_names()
    except BadInput:
        return
    assert all("/" not in name and name not in {"", ".", ".."} for name in names)

"""Configuration of registries: what is filled in, and what is refused by name."""

from pathlib import Path

import pytest

from shoal.adapters.origin.config import RegistryConfig
from shoal.core.errors import SettingsError


def test_a_name_alone_means_https_at_that_name() -> None:
    assert RegistryConfig("R.example:5000").url == "https://r.example:5000"
    assert RegistryConfig("[::1]:5000").url == "https://[::1]:5000"
    for name in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        config = RegistryConfig(name)
        assert (config.name, config.url) == ("docker.io", "https://registry-1.docker.io")


def test_plain_http_is_used_only_where_it_was_asked_for() -> None:
    with pytest.raises(SettingsError, match=r"r\.example.*plain_http"):
        RegistryConfig("r.example", url="http://r.example")
    assert RegistryConfig("r.example", url="http://r.example/", plain_http=True).url == (
        "http://r.example"
    )


@pytest.mark.parametrize(
    ("name", "url", "complaint"),
    [
        ("", "", "name"),
        ("a/b", "", "name"),
        ("r.example", "r.example", "https://host"),
        ("r.example", "ftp://r.example", "https://host"),
        ("r.example", "https://", "https://host"),
        ("r.example", "https://r.example:99999", "not a URL"),
        ("r.example", "https://[::1", "not a URL"),
        ("r.example", "https://me:pw@r.example", "credentials"),
        ("r.example", "https://r.example?x=1", "query"),
        ("r.example", "https://r.example#x", "fragment"),
    ],
)
def test_a_wrong_name_or_url_is_a_settings_error(name: str, url: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        RegistryConfig(name, url=url)
    assert "pw" not in str(caught.value)


def test_a_wrong_alias_or_a_useless_ca_file_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="aliases"):
        RegistryConfig("r.example", aliases=("not a host",))
    with pytest.raises(SettingsError, match="ca_file"):
        RegistryConfig(
            "r.example", url="http://r.example", plain_http=True, ca_file=Path("/etc/ca.pem")
        )

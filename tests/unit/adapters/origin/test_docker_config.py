"""Docker's config.json: whose credentials it gives to whom, and what it cannot be."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.origin.docker_config import Credentials, DockerConfig
from shoal.core.errors import BadInput, SettingsError


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config_of(document: Any) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document).encode(), source="config.json")


def test_credentials_are_found_by_registry_under_any_of_its_names() -> None:
    config = config_of(
        {
            "auths": {
                "https://index.docker.io/v1/": {"auth": encoded("hub:secret")},
                "r.example:5000": {"username": "me", "password": "pa:ss"},
                "https://t.example/v2/": {"identitytoken": "refresh", "auth": encoded("<token>:")},
                "padded.example": {"auth": encoded("me:secret\x00\x00")},
                "empty.example": {},
            },
            "HttpHeaders": {"X": "y"},
        }
    )
    for name in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        assert config.credentials_for(name) == Credentials("hub", "secret")
    assert config.credentials_for("R.example:5000") == Credentials("me", "pa:ss")
    assert config.credentials_for("t.example") == Credentials("<token>", "", "refresh")
    assert config.credentials_for("padded.example") == Credentials("me", "secret")
    for name in ("r.example", "empty.example", "other.example"):
        assert config.credentials_for(name) is None
    with pytest.raises(BadInput):
        config.credentials_for("not a host")


def test_the_longest_path_of_repositories_decides() -> None:
    config = config_of(
        {
            "auths": {
                "r.example": {"auth": encoded("all:1")},
                "r.example/team": {"auth": encoded("team:2")},
                "r.example/team/app": {"auth": encoded("app:3")},
            }
        }
    )
    found = {
        repository: credentials.username
        for repository in ("", "x", "team", "team/other", "team/app", "team/app/x", "teams")
        if (credentials := config.credentials_for("r.example", repository=repository))
    }
    assert found == {
        "": "all",
        "x": "all",
        "team": "team",
        "team/other": "team",
        "team/app": "app",
        "team/app/x": "app",
        "teams": "all",
    }


def test_a_credential_helper_is_named_in_an_error() -> None:
    config = config_of(
        {
            "auths": {"stored.example": {}, "plain.example": {"auth": encoded("me:x")}},
            "credsStore": "desktop",
            "credHelpers": {"ecr.example": "ecr-login"},
        }
    )
    with pytest.raises(SettingsError, match=r"ecr\.example.*docker-credential-ecr-login"):
        config.credentials_for("ecr.example")
    with pytest.raises(SettingsError, match="docker-credential-desktop"):
        config.credentials_for("stored.example")
    assert config.credentials_for("plain.example") == Credentials("me", "x")
    assert config.credentials_for("unknown.example") is None


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "not a JSON object"),
        ({"auths": []}, None),
        ({"auths": [1]}, "auths of Docker config config.json is not an object"),
        ({"auths": {"r.example": []}}, "'r.example' of Docker config config.json is not an object"),
        ({"auths": {"r.example": {"auth": 5}}}, "auth of entry 'r.example'"),
        ({"auths": {"r.example": {"auth": "s3cret!"}}}, "is not base64 of user:password"),
        ({"auths": {"r.example": {"auth": encoded("s3cret")}}}, "is not base64 of user:password"),
        ({"auths": {"r.example": {"auth": "/////w=="}}}, "is not base64 of user:password"),
        ({"auths": {"not a host": {}}}, "entry for 'not a host'"),
    ],
)
def test_a_malformed_file_is_a_settings_error_without_its_secrets(
    document: Any, complaint: str | None
) -> None:
    if complaint is None:
        assert config_of(document).credentials == {}
        return
    with pytest.raises(SettingsError, match=complaint) as caught:
        config_of(document)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "host" in str(caught.value)


def test_a_file_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(SettingsError, match="cannot read"):
        DockerConfig.read(path)
    path.write_text('{"auths": {"r.example": {"username": "me", "password": "x"}}}')
    assert DockerConfig.read(path).credentials_for("r.example") == Credentials("me", "x")
    path.write_text("{not json, secret")
    with pytest.raises(SettingsError, match="is not JSON") as caught:
        DockerConfig.read(path)
    assert "secret" not in str(caught.value)
    path.write_bytes(b" " * 1_100_000)
    with pytest.raises(SettingsError, match="longer than"):
        DockerConfig.read(path)


def test_a_secret_is_never_printed() -> None:
    credentials = Credentials("me", "secret", "refresh")
    assert "secret" not in repr(credentials)
    assert "refresh" not in repr(credentials)
    assert credentials.basic == "Basic " + encoded("me:secret")

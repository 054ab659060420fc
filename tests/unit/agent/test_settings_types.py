"""Kinds of setting: what each takes, what it makes of it, what it refuses."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shoal.agent import settings_types as types


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (types.Size, "20GiB", 20 * 2**30),
        (types.Size, 4096, 4096),
        (types.Rate, "100Mbit/s", 12_500_000),
        (types.Seconds, "2m", 120.0),
        (types.Seconds, 3, 3.0),
        (types.Port, "65001", 65001),
        (types.Address, "[::1]", "::1"),
        (types.Address, "0:0::1", "::1"),
        (types.HostName, "Node.Example", "node.example"),
        (types.Member, "[fd00::1]:65002", "[fd00::1]:65002"),
        (types.Member, "node-7", "node-7"),
        (types.RegistryName, "Registry.Example:5000", "registry.example:5000"),
        (types.RegistryName, "[::1]:5000", "[::1]:5000"),
        (types.RedirectHost, "*.oss-cn-hangzhou.aliyuncs.com", "*.oss-cn-hangzhou.aliyuncs.com"),
        (types.BaseUrl, "https://registry.example:5000/", "https://registry.example:5000"),
        (types.BaseUrl, "", ""),
        (types.SiteName, "pool-1", "pool-1"),
    ],
)
def test_a_value_is_taken_in_its_normal_form(kind: Any, given: object, value: object) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    assert adapter.validate_python(given) == value


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (types.Size, "20 apples", "expected a size"),
        (types.Size, True, "expected a number or text with a unit"),
        (types.Size, -1, "greater than or equal to 0"),
        (types.Seconds, 0, "greater than 0"),
        (types.Seconds, float("inf"), "finite"),
        (types.Port, 65536, "65535"),
        (types.Port, True, "expected a whole number"),
        (types.Count, 0, "greater than or equal to 1"),
        (types.Address, "localhost", "expected an IP address"),
        (types.Member, "::1:65002", "expected host:port"),
        (types.RegistryName, "https://docker.io", "as image references name it"),
        (types.RegistryName, "docker.io/library", "as image references name it"),
        (types.RedirectHost, "*", "expected a host"),
        (types.BaseUrl, "docker.io", "expected a base URL"),
        (types.BaseUrl, "ftp://docker.io", "expected a base URL"),
        (types.BaseUrl, "https://docker.io/v2/", "expected a base URL"),
        (types.BaseUrl, "https://docker.io:99999", "expected a base URL"),
        (types.SiteName, "a site", "letters, digits"),
        (types.AbsolutePath, "shoal", "expected an absolute path"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(
    kind: Any, given: object, expected: str
) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    with pytest.raises(ValidationError, match=expected.replace("*", r"\*")):
        adapter.validate_python(given)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    adapter: TypeAdapter[object] = TypeAdapter(types.BaseUrl)
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python("https://user:hunter2@registry.example")
    assert "hunter2" not in str(caught.value.errors(include_input=False))

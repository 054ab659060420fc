"""The names that images get."""

import pytest

from shoal.core.errors import BadInput
from shoal.setup.cluster.rewritten_names import rewrites, rewritten_name


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        (
            "test-registry-vpc.cn-hangzhou.cr.aliyuncs.com",
            "test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001",
        ),
        ("docker.io", "docker.distributed.io:65001"),
        ("registry.example.com:443", "registry.distributed.example.com:65001"),
        ("registry.example.com:5000", "registry-5000.distributed.example.com:65001"),
    ],
)
def test_a_name_gets_a_mark_before_its_domain_and_the_agents_port(
    registry: str, expected: str
) -> None:
    assert rewritten_name(registry, 65001) == expected


@pytest.mark.parametrize("registry", ["localhost:5000", "10.0.0.1", "[::1]:80", "a.distributed.b"])
def test_what_has_no_domain_is_left_as_it_is(registry: str) -> None:
    with pytest.raises(BadInput):
        rewritten_name(registry, 65001)


def test_only_names_that_the_agent_answers_to_are_rewritten() -> None:
    registries: list[dict[str, object]] = [
        {"name": "a.b", "aliases": ["c.d", "a.distributed.b:65001", "c.distributed.d:65001"]},
        {"name": "e.f", "aliases": ["e.distributed.f:1"]},
        {"name": "localhost:1"},
    ]
    assert rewrites(registries, 65001) == {
        "a.b": "a.distributed.b:65001",
        "c.d": "c.distributed.d:65001",
    }

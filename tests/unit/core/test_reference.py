"""References: what Docker and containerd make of a name, and what is wrong with the others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.reference import Reference, canonical_registry, check_repository, check_tag

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("team/app", "docker.io/team/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("registry-1.docker.io/team/app:2", "docker.io/team/app:2"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("Registry.Example.COM/app", "registry.example.com/app:latest"),
        ("127.0.0.1:65001/a/b/c:x_Y.z-1", "127.0.0.1:65001/a/b/c:x_Y.z-1"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest"),
        (f"nginx@sha256:{HEX}", f"docker.io/library/nginx@sha256:{HEX}"),
        (f"r.io/a:1@sha256:{HEX}", f"r.io/a:1@sha256:{HEX}"),
        (f"r.io/a@sha512:{HEX}{HEX}", f"r.io/a@sha512:{HEX}{HEX}"),
    ],
)
def test_a_reference_is_normalised_as_docker_does(text: str, spelled: str) -> None:
    assert str(Reference.parse(text)) == spelled
    assert Reference.parse(spelled) == Reference.parse(text)


def test_the_digest_decides_where_a_tag_is_given_too() -> None:
    reference = Reference.parse(f"r.io/a:1@sha256:{HEX}")
    assert (reference.target, reference.tag) == (f"sha256:{HEX}", "1")
    assert Reference.parse("r.io/a:1").target == "1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        (" nginx", "spaces"),
        ("https://r.io/a", "scheme"),
        ("r.io/", "names no repository"),
        ("a/Upper", "not a repository name"),
        ("UPPER/app", "not a repository name"),
        ("r.io/a//b", "not a repository name"),
        ("r.io/../b", "not a repository name"),
        ("r.io/a:", "not a tag"),
        ("r.io/a:.x", "not a tag"),
        ("r.io/a:b:c", "not a tag"),
        ("r.io/a@sha256:12", "digest"),
        ("r.io/a@", "digest"),
        ("r.io:0/a", "outside 1..65535"),
        ("r.io:70000/a", "outside 1..65535"),
        ("r.io:x/a", "host"),
        ("[::1/a", "host"),
        ("-r.io/a", "host"),
        ("r.io/" + "a" * 252, "longer than 255"),
    ],
)
def test_an_error_names_the_part_that_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        Reference.parse(text)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_bad_input(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except BadInput:
        return
    assert Reference.parse(str(reference)) == reference
    check_repository(reference.repository)
    assert canonical_registry(reference.registry) == reference.registry


def test_a_newline_at_the_end_is_no_part_of_a_name() -> None:
    for check in (check_repository, check_tag, canonical_registry):
        with pytest.raises(BadInput):
            check("nginx\n")

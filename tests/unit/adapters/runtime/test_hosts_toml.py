"""The text of a hosts.toml: our entry goes in first, is recognised, and comes out again."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.adapters.runtime import hosts_toml
from shoal.adapters.runtime.hosts_toml import AgentEntry, Ownership
from shoal.core.errors import BadInput, SettingsError

URL = "http://127.0.0.1:65001"
ENTRY = AgentEntry(URL)
PATH = "/etc/containerd/certs.d/docker.io/hosts.toml"

ADMINS = """# Managed by the platform team.
server = "https://registry-1.docker.io"   # the real one

# Two mirrors, nearest first.
[host."https://near.example.com"]
  capabilities = ["pull"]
  [host."https://near.example.com".header]
    x-team = ["a", "b"]

[host."https://far.example.com"]
  ca = "far.crt"
"""


def added(text: str, entry: AgentEntry = ENTRY) -> str:
    return hosts_toml.with_entry(text, entry, ownership=Ownership(), path=PATH)


def test_the_agent_is_the_first_host_and_the_rest_keeps_its_order_and_comments() -> None:
    text = added(ADMINS)
    hosts = tomllib.loads(text)["host"]
    assert list(hosts) == [URL, "https://near.example.com", "https://far.example.com"]
    assert hosts[URL] == {"capabilities": ["pull", "resolve"], "dial_timeout": "1s"}
    kept = [line for line in text.splitlines() if line in ADMINS.splitlines()]
    assert kept == ADMINS.splitlines()


def test_a_comment_above_a_host_stays_above_it() -> None:
    text = added(ADMINS)
    assert '# Two mirrors, nearest first.\n[host."https://near.example.com"]' in text


def test_the_entry_comes_out_and_the_text_is_what_it_was() -> None:
    found = hosts_toml.managed(added(ADMINS))
    assert found is not None
    assert found.without_entry == ADMINS
    assert found.untouched
    assert found.agent_url == URL


def test_text_without_our_marker_is_not_ours() -> None:
    assert hosts_toml.managed(ADMINS) is None
    assert hosts_toml.managed(f'[host."{URL}"]\n') is None


def test_an_entry_whose_end_marker_is_gone_is_not_ours_to_cut() -> None:
    assert hosts_toml.managed(added(ADMINS).replace(hosts_toml.END, "#")) is None


@pytest.mark.parametrize("edit", ["\n# a word\n", '[host."https://third.example.com"]\n'])
def test_an_edit_anywhere_is_noticed(edit: str) -> None:
    found = hosts_toml.managed(added(ADMINS) + edit)
    assert found is not None
    assert not found.untouched
    assert found.without_entry == ADMINS + edit


def test_what_install_made_is_remembered_in_the_text() -> None:
    ownership = Ownership(made_file=True, made_folders=2)
    text = hosts_toml.with_entry("", ENTRY, ownership=ownership, path=PATH)
    found = hosts_toml.managed(text)
    assert found is not None
    assert found.ownership == ownership


def test_headers_go_to_the_agent_only() -> None:
    entry = AgentEntry(URL, headers=(("X-Shoal-Node", 'se"cr\\et'),))
    hosts = tomllib.loads(added(ADMINS, entry))["host"]
    assert hosts[URL]["header"] == {"X-Shoal-Node": 'se"cr\\et'}
    assert "header" not in hosts["https://far.example.com"]


def test_a_header_value_is_in_no_repr() -> None:
    assert "hush" not in repr(AgentEntry(URL, headers=(("X-Node", "hush"),)))


@pytest.mark.parametrize("header", [("a b", "x"), ("", "x"), ("a", "x\ny"), ("a", "x" * 5000)])
def test_a_header_that_could_break_a_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(BadInput):
        AgentEntry(URL, headers=(header,))


def test_broken_toml_is_named_with_file_and_line() -> None:
    with pytest.raises(SettingsError, match=r"docker.io/hosts.toml:2: not valid TOML"):
        added('server = "x"\n[host\n')


def test_bytes_that_are_no_text_are_named_with_file_and_line() -> None:
    with pytest.raises(SettingsError, match=r"hosts.toml:3: not UTF-8"):
        hosts_toml.decode(b"a = 1\n\n\xff\n", path=PATH)


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="too many"):
        hosts_toml.decode(b" " * (hosts_toml.MAX_FILE_BYTES + 1), path=PATH)


def test_an_entry_for_the_same_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(SettingsError, match="already"):
        added(f'[host."{URL}"]\ncapabilities = ["pull"]\n')


@pytest.mark.parametrize("text", ['host = { "https://a" = {} }\n', "host = 3\n"])
def test_hosts_that_nothing_can_be_put_before_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="host"):
        added(text)


def test_what_looks_like_a_host_inside_a_string_is_not_taken_for_one() -> None:
    text = 'note = """\n[host."https://no.example.com"]\n"""\n[host."https://yes.example.com"]\n'
    read = tomllib.loads(added(text))
    assert read["note"] == '[host."https://no.example.com"]\n'
    assert list(read["host"]) == [URL, "https://yes.example.com"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but this",
        'server = "https://a"',
        "[header]\nx = 'y'\n",
        '[host]\n[host."https://a"]\n',
        '["host" . "https://a"]\r\nskip_verify = true\r\n',
        "[header]\n[host.'https://a']\n[client]\n[host.b]",
    ],
)
def test_many_ways_to_write_the_file_are_understood(text: str) -> None:
    new = added(text)
    read = tomllib.loads(new)
    assert next(iter(read["host"])) == URL
    found = hosts_toml.managed(new)
    assert found is not None
    assert found.without_entry.rstrip("\r\n") == text.rstrip("\r\n")
    assert ("\r\n" in new) == ("\r\n" in text)
    assert not ("\r\n" in new and "\n" in new.replace("\r\n", ""))


@given(
    st.lists(
        st.sampled_from(
            [
                'server = "https://a"\n',
                "# words\n",
                "\n",
                '[host."https://a"]\n',
                '[host."https://b"]\n  capabilities = ["pull"]\n',
                '[host."https://a".header]\n  k = "v"\n',
                "[header]\n  k = 'v'\n",
                'note = """\n[host.x]\n# >>> not shoal\n"""\n',
                '[host."http://127.0.0.1:65001"]\n',
                "[[x]]\n",
                "oops\n",
            ]
        )
    ).map("".join)
)
def test_any_text_is_refused_or_changed_by_nothing_but_our_entry(text: str) -> None:
    try:
        new = added(text)
    except SettingsError:
        return
    found = hosts_toml.managed(new)
    assert found is not None
    assert found.untouched
    assert found.without_entry == text
    assert hosts_toml.comes_first(new, url=URL, path=PATH)

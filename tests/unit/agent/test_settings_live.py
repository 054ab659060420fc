"""What changes at once when the settings are read again, and what waits for a restart."""

from typing import Any

import pytest

from shoal.agent.settings import AgentSettings
from shoal.agent.settings_keys import all_keys
from shoal.agent.settings_live import LIVE, change_between, is_live


def settings(**sections: Any) -> AgentSettings:
    return AgentSettings.model_validate({"peer": {"plaintext": True}, **sections})


def test_nothing_changed_is_no_change() -> None:
    change = change_between(settings(), settings())
    assert (change.live, change.waiting) == ((), ())
    assert change.settings == settings()


def test_rates_members_registries_and_the_log_level_change_at_once() -> None:
    read = settings(
        limits={"upload_bytes_per_s": "100Mbit/s", "peer_connections": 5},
        membership={"static": ["10.0.0.1"], "dns_refresh_s": 3},
        registries=[{"name": "r.example"}],
        log={"level": "debug"},
    )
    change = change_between(settings(), read)
    assert change.live == (
        "registries",
        "membership.static",
        "membership.dns_refresh_s",
        "limits.upload_bytes_per_s",
        "limits.peer_connections",
        "log.level",
    )
    assert change.waiting == ()
    assert change.settings == read


def test_what_was_made_at_the_start_waits_and_stays_as_it_was() -> None:
    before = settings(limits={"upload_bytes_per_s": "1MB/s"})
    read = settings(
        front={"port": 7}, store={"path": "/elsewhere"}, limits={"upload_bytes_per_s": "2MB/s"}
    )
    change = change_between(before, read)
    assert change.live == ("limits.upload_bytes_per_s",)
    assert change.waiting == ("front.port", "store.path")
    assert change.settings == settings(limits={"upload_bytes_per_s": "2MB/s"})


def test_a_limit_that_is_gone_from_the_file_is_lifted() -> None:
    before = settings(limits={"download_bytes_per_s": "1MB/s"})
    change = change_between(before, settings())
    assert change.settings.limits.download_bytes_per_s is None


@pytest.mark.parametrize("live", LIVE)
def test_what_is_said_to_be_live_is_a_setting_or_a_section(live: str) -> None:
    assert any(name == live or name.startswith(f"{live}.") for name in all_keys())


def test_a_key_of_a_list_s_objects_is_as_live_as_the_list() -> None:
    assert is_live("registries[].url")
    assert not is_live("front.port")
    assert not is_live("log.format")

"""The list of settings, and how each is called in flags and environment."""

from shoal.agent.settings_keys import all_keys


def test_a_setting_is_called_alike_in_all_three_sources() -> None:
    key = all_keys()["front.port"]
    assert (key.name, key.flag, key.variable) == (
        "front.port",
        "--front.port",
        "SHOAL_FRONT__PORT",
    )


def test_no_two_settings_share_a_variable() -> None:
    keys = all_keys().values()
    assert len({key.variable for key in keys}) == len(keys)


def test_lists_switches_and_objects_are_told_apart() -> None:
    keys = all_keys()
    assert keys["front.hosts"].is_list
    assert keys["front.hosts"].items is None
    assert keys["registries"].items is not None
    assert keys["membership.kubernetes"].items is not None
    assert not keys["membership.kubernetes"].is_list
    assert keys["front.allow_remote"].is_bool
    assert keys["peer.address"].is_optional

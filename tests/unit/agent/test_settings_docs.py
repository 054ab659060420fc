"""What people are told about the settings."""

from shoal.agent.settings_docs import default_of, help_text, kind_of, settings_markdown
from shoal.agent.settings_keys import all_keys


def test_the_help_names_every_flag_and_fits_its_width() -> None:
    lines = help_text(width=100).splitlines()
    assert max(map(len, lines)) <= 100
    for key in all_keys().values():
        assert any(line.startswith(f"  {key.flag} (") for line in lines), key.name


def test_the_document_names_every_setting_with_its_variable() -> None:
    document = settings_markdown()
    for key in all_keys().values():
        assert f"| `{key.name}`<br>`{key.variable}` |" in document
    assert "| `registries[].plain_http` |" in document


def test_defaults_are_shown_as_they_would_be_written() -> None:
    keys = all_keys()
    assert default_of(keys["store.quota_bytes"]) == "20GiB"
    assert default_of(keys["drain_timeout_s"]) == "25"
    assert default_of(keys["front.hosts"]) == "127.0.0.1, ::1"
    assert default_of(keys["peer.plaintext"]) == "false"
    assert default_of(keys["peer.address"]) == "none"


def test_kinds_are_told_in_words() -> None:
    keys = all_keys()
    assert kind_of(keys["registries"]) == "list of objects"
    assert kind_of(keys["membership.kubernetes"]) == "object"
    assert kind_of(keys["log.format"]) == "`json` or `text`"
    assert kind_of(keys["containerd.content_dir"]) == "absolute path"

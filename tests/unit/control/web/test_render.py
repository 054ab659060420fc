"""Pages from templates."""

from shoal.control.web import render


def test_times_are_utc_and_documents_are_laid_out() -> None:
    assert render._date(0) == "1970-01-01 00:00:00"
    assert render._date(None) == "never"
    assert render._iso(0) == "1970-01-01T00:00:00+00:00"
    assert render._iso(None) == ""
    assert render._pretty('{"a":1}') == '{\n  "a": 1\n}'
    assert render._pretty("not json") == "not json"


def test_a_static_files_address_changes_with_it() -> None:
    assert render.static_url("console.css").endswith("/console.css")
    assert len(render.static_hash("console.css")) == 10

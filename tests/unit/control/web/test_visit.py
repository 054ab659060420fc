"""Forms: what is taken, and what is said about what is not."""

from shoal.control.web.visit import Form, form_of
from shoal.core.console import fields


def test_a_field_is_taken_clean_or_its_mistake_is_noted() -> None:
    form = Form(values={"port": " 65001 ", "region": "Nowhere"})
    assert form.take("port", fields.port) == "65001"
    assert form.is_good
    assert form.take("region", fields.region) == ""
    assert form.errors["region"].startswith("Expected a region such as")
    assert not form.is_good


def test_boxes_are_ticked_or_not_there() -> None:
    form = Form(values={"force": "1"})
    assert form.ticked("force")
    assert not form.ticked("confirmed")


def test_files_are_not_taken() -> None:
    assert form_of({"a": "x", "b": object()}, {}).values == {"a": "x"}

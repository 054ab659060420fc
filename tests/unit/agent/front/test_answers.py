"""Refusals and error bodies."""

import json

from shoal.agent.front.answers import Cause, Code, Refusal, error_response


def test_an_error_has_the_form_of_the_specification() -> None:
    response = error_response(404, Code.BLOB_UNKNOWN, "no such blob", headers={"X": "y"})
    assert response.status == 404
    assert response.headers["X"] == "y"
    assert response.content_type == "application/json"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "errors": [{"code": "BLOB_UNKNOWN", "message": "no such blob"}]
    }


def test_an_error_of_any_length_is_answered_short() -> None:
    response = error_response(400, Code.NAME_INVALID, "x" * 100_000)
    assert isinstance(response.body, bytes)
    assert len(response.body) < 1000


def test_a_refusal_is_a_404_unless_it_says_otherwise() -> None:
    assert Refusal("no answer", cause=Cause.REGISTRY_UNAVAILABLE).response().status == 404


def test_a_refusal_may_end_the_connection() -> None:
    refusal = Refusal("no uploads", cause=Cause.METHOD, status=405, closes=True)
    assert refusal.response().keep_alive is False

"""Secrets as the API server has them."""

from shoal.setup.cluster.objects import collection, made, opened, sealed


def test_what_is_sealed_is_opened_and_what_is_no_base64_is_left_out() -> None:
    data = sealed({"a": b"\x00\xff"})
    assert opened({"data": {**data, "b": "not base64!"}}) == {"a": b"\x00\xff"}
    assert opened({}) == {}


def test_what_is_made_says_by_whom() -> None:
    thing = made("Secret", "a", "n")
    assert thing["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "shoal"
    assert collection("n", "secrets") == "/api/v1/namespaces/n/secrets"

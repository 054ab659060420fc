"""Names: labels, and how the API server is asked for them."""

from shoal.setup.names import NAME, component, selector


def test_the_pods_of_a_component_are_asked_for_by_their_labels() -> None:
    assert selector(component("agent")) == (
        f"app.kubernetes.io/name={NAME},app.kubernetes.io/component=agent"
    )

"""What patches do to objects."""

from typing import Any

import pytest

from shoal.core.errors import BadInput
from shoal.testing.kube.patches import json_patched, merged, strategic


def test_a_merge_patch_puts_lists_whole_and_takes_away_what_is_null() -> None:
    thing = {"a": {"b": 1, "c": 2}, "l": [1, 2]}
    assert merged(thing, {"a": {"b": None, "d": 3}, "l": [3]}) == {"a": {"c": 2, "d": 3}, "l": [3]}


def test_a_strategic_patch_merges_conditions_by_their_type() -> None:
    ready = {"type": "Ready", "status": "True"}
    status = {"conditions": [ready, {"type": "Mine", "status": "False", "reason": "x"}]}
    changed = strategic(status, {"conditions": [{"type": "Mine", "status": "True"}]})
    assert changed == {"conditions": [ready, {"type": "Mine", "status": "True", "reason": "x"}]}
    gone = strategic(changed, {"conditions": [{"type": "Mine", "$patch": "delete"}]})
    assert gone == {"conditions": [ready]}


def test_other_lists_are_put_whole_by_a_strategic_patch_too() -> None:
    assert strategic({"args": [1, 2]}, {"args": [3]}) == {"args": [3]}


def test_json_patches_add_replace_remove_and_test_in_order() -> None:
    thing = {"spec": {"a/b": 1, "list": [1, 3]}}
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/spec/a~1b", "value": 1},
        {"op": "replace", "path": "/spec/a~1b", "value": 2},
        {"op": "add", "path": "/spec/list/1", "value": 2},
        {"op": "add", "path": "/spec/list/-", "value": 4},
        {"op": "remove", "path": "/spec/list/0"},
        {"op": "add", "path": "/new", "value": {}},
    ]
    assert json_patched(thing, operations) == {"spec": {"a/b": 2, "list": [2, 3, 4]}, "new": {}}
    assert thing == {"spec": {"a/b": 1, "list": [1, 3]}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "remove", "path": "/x"},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "test", "path": "/l", "value": []},
        {"op": "move", "path": "/l", "from": "/x"},
        {"op": "add", "path": "", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        json_patched({"l": [1]}, [operation])

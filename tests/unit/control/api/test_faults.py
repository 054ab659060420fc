"""Refusals in the cloud's shape."""

from shoal.control.api.faults import missing, no_permission


def test_a_refusal_has_code_message_and_request_id() -> None:
    assert missing("InstanceId").body("R-1", "h") == {
        "RequestId": "R-1",
        "HostId": "h",
        "Code": "MissingParameter",
        "Message": "The parameter InstanceId is mandatory for this action.",
    }


def test_a_denied_action_says_which_and_whose() -> None:
    body = no_permission(action="cr:GetInstance", who="arn", kind="ExplicitDeny").body("R-1", "h")
    assert body["AccessDeniedDetail"] == {
        "AuthAction": "cr:GetInstance",
        "AuthPrincipalDisplayName": "arn",
        "NoPermissionType": "ExplicitDeny",
        "PolicyType": "AccountLevelIdentityBasedPolicy",
    }

"""The policies that come with each account, by the names that the documentation uses."""

import json

from shoal.control.store import access
from shoal.control.store.changes import Change

ADMINISTRATOR_ACCESS = "AdministratorAccess"
_POLICIES = {
    ADMINISTRATOR_ACCESS: ("May do everything.", ["*"]),
    "AliyunSTSAssumeRoleAccess": ("May assume roles that trust it.", ["sts:AssumeRole"]),
    "AliyunContainerRegistryReadOnlyAccess": (
        "May look at registries and pull.",
        ["cr:Get*", "cr:List*", "cr:Pull*"],
    ),
    "AliyunContainerRegistryFullAccess": ("May do everything with registries.", ["cr:*"]),
    "AliyunRAMFullAccess": ("May do everything with users, roles and policies.", ["ram:*"]),
    "ShoalP2PComponentAccess": (
        "What the P2P component needs, and nothing else.",
        [
            "cr:GetInstance",
            "cr:GetInstanceVpcEndpoint",
            "cr:ListInstanceEndpoint",
            "cr:GetInstanceP2PAcceleration",
            "cr:ReportP2PComponent",
        ],
    ),
}


def add_system_policies(change: Change, account: str) -> None:
    """Add them to a new account."""
    for name, (comment, actions) in _POLICIES.items():
        document = {
            "Version": "1",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        }
        access.put_policy(
            change,
            account,
            name,
            comment=comment,
            document=json.dumps(document, indent=2),
            system=True,
        )

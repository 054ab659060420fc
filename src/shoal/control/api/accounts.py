"""Resource Directory, version 2022-04-19: further accounts, by whom the first account lets.

A new account has a role that trusts the first one; by AssumeRole it is filled with the rest.
"""

from collections.abc import Mapping

from shoal.control.api.actions import Action, Asked, stamp
from shoal.control.api.faults import Fault
from shoal.control.store import accounts
from shoal.control.store.records import AlreadyExists
from shoal.core.console import fields
from shoal.core.console.models import Account

VERSION = "2022-04-19"


async def create_account(asked: Asked) -> dict[str, object]:
    """Add an account."""
    await _demand(asked, "CreateResourceAccount")
    name = asked.checked("DisplayName", fields.principal)
    try:
        made = await asked.console.change(
            asked.author, lambda change: accounts.create(change, name)
        )
    except AlreadyExists as error:
        raise Fault(409, "EntityAlreadyExists.ResourceAccount", str(error)) from error
    return {"Account": _described(made)}


async def list_accounts(asked: Asked) -> dict[str, object]:
    """Describe all accounts but the first, which is the caller's."""
    await _demand(asked, "ListAccounts")
    found = [one for one in await asked.console.read(accounts.find_all) if not one.management]
    described = [_described(one) for one in found]
    return {
        "Accounts": {"Account": described},
        "PageNumber": 1,
        "PageSize": len(found),
        "TotalCount": len(found),
    }


ACTIONS: Mapping[str, Action] = {
    "CreateResourceAccount": create_account,
    "ListAccounts": list_accounts,
}


async def _demand(asked: Asked, action: str) -> None:
    asked.caller.demand(
        f"resourcemanager:{action}", f"acs:resourcemanager:*:{asked.account}:account/*"
    )
    manager = await asked.console.read(accounts.management)
    if asked.account != manager.id:
        raise Fault(
            403, "NotAuthorized.ManagementAccount", f"Only account {manager.id} manages others."
        )


def _described(account: Account) -> dict[str, object]:
    return {
        "AccountId": account.id,
        "DisplayName": account.name,
        "Type": "ResourceAccount",
        "Status": "CreateSuccess",
        "JoinMethod": "created",
        "JoinTime": stamp(account.created_at),
    }

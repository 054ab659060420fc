"""The instance that a call is about, and whether the caller may know of it."""

from sqlalchemy import Connection

from shoal.control.api.actions import Asked
from shoal.control.api.faults import Fault
from shoal.control.store import instances
from shoal.control.store.records import NotFound
from shoal.core.console.models import Endpoint, Instance, VpcLink


async def instance_of(asked: Asked, action: str, *, implied_by: str = "") -> Instance:
    """Return the instance that a call names, if the caller may do `action` with it.

    Args:
        asked: The call.
        action: Without its product, such as `GetInstance`.
        implied_by: Another action that allows this one too, unless a policy denies it by name.

    Raises:
        Fault: They may not, or there is none.
    """
    id_ = asked.text("InstanceId")

    def look(connection: Connection) -> Instance | None:
        try:
            return instances.find(connection, id_)
        except NotFound:
            return None

    found = await asked.console.known(("instance", id_), look)
    if found is not None and found.account != asked.account:
        found = None  # another account's is as if there were none
    # Permission first: who may not ask does not learn which instances there are.
    region = found.region if found is not None else "*"
    resource = f"acs:cr:{region}:{asked.account}:instance/{id_}"
    asked.caller.demand(f"cr:{action}", resource, implied_by=implied_by and f"cr:{implied_by}")
    if found is None:
        raise Fault(404, "INSTANCE_NOT_EXIST", f"The instance {id_} does not exist.")
    return found


async def ways_of(asked: Asked, id_: str) -> tuple[list[Endpoint], list[VpcLink]]:
    """Return an instance's endpoints, and the VPCs that may reach it."""
    return await asked.console.known(
        ("ways", id_), lambda c: (instances.endpoints(c, id_), instances.links(c, id_))
    )

"""Creates, replaces, patches and deletes: what an API server does to its objects, and refuses."""

from collections.abc import Callable
from typing import Any

from shoal.core.errors import BadInput
from shoal.testing.kube.admission import Admission, Attempt, Denied
from shoal.testing.kube.faults import Verb
from shoal.testing.kube.objects import Event, Objects, ResourcePath
from shoal.testing.kube.patches import Json, json_patched, merged, strategic

_STRATEGIC, _JSON = "application/strategic-merge-patch+json", "application/json-patch+json"
_PATCHES: dict[str, Callable[[Json, Json], Json]] = {
    _STRATEGIC: strategic,
    _JSON: json_patched,
    "application/merge-patch+json": merged,
}


class WriteRefused(BadInput):
    """A write that the server does not do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Writing:
    """Writes objects, once webhooks have seen them, and tells who watches."""

    def __init__(
        self, objects: Objects, admission: Admission, tell: Callable[[Event], None]
    ) -> None:
        """Write into `objects`."""
        self._objects = objects
        self._admission = admission
        self._tell = tell

    async def write(
        self, verb: Verb, path: ResourcePath, body: Json, *, patch_type: str, user: str
    ) -> dict[str, Any]:
        """Return the object after it was written, or as it was before it was deleted.

        Raises:
            WriteRefused: it was not.
        """
        if verb == "delete":
            return self._delete(path, body or {})
        if verb == "create":
            return await self._create(path, body, user)
        before = self._objects.get(path.object)
        if before is None:
            raise WriteRefused(404, f"{path.resource} {path.name} not found")
        thing = body
        if verb == "patch":
            try:
                thing = _PATCHES[patch_type](before, body)
            except KeyError:
                raise WriteRefused(415, f"the patch type {patch_type!r} is not known") from None
            except BadInput as exc:
                raise WriteRefused(422, str(exc)) from exc
        wanted = thing.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise WriteRefused(409, f"{path.resource} {path.name} has been modified")
        # A part is written by its own path alone, and the rest by the object's.
        if path.subresource == "status":
            thing = before | {"status": thing.get("status", {})}
        elif path.subresource is None and "status" in before:
            thing = thing | {"status": before["status"]}
        return await self._admit("UPDATE", path, thing, before, user)

    async def _create(self, path: ResourcePath, body: Json, user: str) -> dict[str, Any]:
        metadata = body.get("metadata", {})
        name = metadata.get("name")
        if not name and metadata.get("generateName"):
            name = f"{metadata['generateName']}{self._objects.version:05x}"
        if not name or path.name is not None:
            raise WriteRefused(422, "metadata.name: required")
        if self._objects.get(path.of(name)) is not None:
            raise WriteRefused(409, f"{path.resource} {name} already exists")
        return await self._admit("CREATE", path.of(name), body, None, user)

    async def _admit(
        self,
        operation: str,
        path: ResourcePath,
        thing: dict[str, Any],
        before: dict[str, Any] | None,
        user: str,
    ) -> dict[str, Any]:
        try:
            thing = await self._admission.admitted(Attempt(operation, path, thing, before, user))
        except Denied as exc:
            raise WriteRefused(403, str(exc)) from exc
        event = self._objects.put(path.object, thing)
        self._tell(event)
        return event.now

    def _delete(self, path: ResourcePath, options: dict[str, Any]) -> dict[str, Any]:
        thing = self._objects.get(path)
        if thing is None:
            raise WriteRefused(404, f"{path.resource} {path.name} not found")
        for key, value in (options.get("preconditions") or {}).items():
            if thing["metadata"][key] != value:
                raise WriteRefused(409, f"{key} of {path.name} is {thing['metadata'][key]}")
        self.remove(path)
        return thing

    def remove(self, path: ResourcePath) -> None:
        """Delete an object, and what nobody else owns, as the garbage collector does."""
        event = self._objects.delete(path)
        self._tell(event)
        for owned in self._objects.owned_by(event.now["metadata"]["uid"]):
            self.remove(owned)

"""Somebody who uses the console's pages without JavaScript: opens them, and sends their forms."""

import re
from dataclasses import dataclass

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from shoal.control.console import Console

PASSWORD = "correct horse battery"
SETUP_CODE = "c0de"


@dataclass(slots=True)
class Browser:
    """A client that fills forms as a browser without JavaScript does."""

    client: TestClient  # type: ignore[type-arg] # its parameter tells two kinds of test apart
    console: Console
    page: str = ""
    status: int = 0

    async def get(self, path: str, *, ends: int = 200) -> str:
        """Open a page."""
        return await self._seen(await self.client.get(f"/console{path}"), ends)

    async def post(
        self,
        path: str,
        fields: dict[str, str] | list[tuple[str, str]] | None = None,
        *,
        ends: int = 200,
    ) -> str:
        """Send a form with the token of the page that is open, and follow where it leads."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page)
        token = found[1] if found else ""
        pairs = list(fields.items()) if isinstance(fields, dict) else list(fields or [])
        answer = await self.client.post(f"/console{path}", data=[("csrf", token), *pairs])
        return await self._seen(answer, ends)

    async def set_up(self) -> None:
        """Make the first administrator, who is then signed in."""
        await self.get("/setup")
        await self.post(
            "/setup",
            {"code": SETUP_CODE, "name": "alice", "password": PASSWORD, "password_again": PASSWORD},
        )

    async def create_instance(self, name: str = "team", edition: str = "Standard") -> str:
        """Create an instance; return its id."""
        await self.get("/instances/new")
        form = {"name": name, "region": "cn-hangzhou", "edition": f"Enterprise_{edition}"}
        await self.post("/instances/new", form | {"registry_url": "http://127.0.0.1:5000"})
        found = re.search(r'id="instance-id">(cri-[a-z0-9]+)<', self.page)
        assert found, self.page
        return found[1]

    async def create_cluster(self, id_: str = "c1a2", version: str = "1.28.3") -> None:
        """Add a cluster in the VPC vpc-1."""
        await self.get("/clusters/new")
        form = {"id": id_, "name": "edge-factory", "region": "cn-hangzhou", "vpc_id": "vpc-1"}
        await self.post("/clusters/new", form | {"version": version, "edge": "1"})

    async def _seen(self, answer: ClientResponse, ends: int) -> str:
        self.page, self.status = await answer.text(), answer.status
        assert self.status == ends, (self.status, self.page)
        return self.page

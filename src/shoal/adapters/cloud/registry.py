"""Container Registry's questions, each with one answer or one error."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shoal.adapters.cloud import sdk
from shoal.adapters.cloud.credentials import Credentials, Refresher
from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.cloud.failures import Failure, Stage
from shoal.core.cloud.lookup import UNKNOWN_SWITCH, Described, Switch, VpcEndpoint, Way

VERSION = "2018-12-01"

_Ask = Callable[[Any], Awaitable[Any]]


class RegistryApi:
    """Calls of one region, signed with credentials that somebody else keeps fresh."""

    def __init__(self, settings: CloudSettings, refresher: Refresher) -> None:
        self._settings = settings
        self._refresher = refresher

    async def describe(self, instance_id: str) -> Described:
        """Return an instance's name, edition and status.

        Raises:
            CallFailed: refused, or no answer.
            CloudFailed: there are no credentials.
        """
        from alibabacloud_cr20181201 import models

        request = models.GetInstanceRequest(instance_id=instance_id)
        body = await self._call(
            "GetInstance",
            lambda client: client.get_instance_with_options_async(request, sdk.runtime_options()),
        )
        return Described(
            name=body.instance_name or instance_id,
            edition=body.instance_specification or "",
            status=body.instance_status or "",
        )

    async def vpc_endpoint(self, instance_id: str) -> VpcEndpoint:
        """Return the domains that VPCs use, and which VPCs may. Raises as `describe`."""
        from alibabacloud_cr20181201 import models

        request = models.GetInstanceVpcEndpointRequest(
            instance_id=instance_id, module_name="Registry"
        )
        body = await self._call(
            "GetInstanceVpcEndpoint",
            lambda client: client.get_instance_vpc_endpoint_with_options_async(
                request, sdk.runtime_options()
            ),
        )
        return VpcEndpoint(
            enabled=bool(body.enable),
            domains=tuple(body.domains or ()),
            links=tuple((one.vpc_id or "", one.status or "") for one in body.linked_vpcs or ()),
        )

    async def endpoints(self, instance_id: str) -> tuple[Way, ...]:
        """Return all ways in to an instance. Raises as `describe`."""
        from alibabacloud_cr20181201 import models

        request = models.ListInstanceEndpointRequest(
            instance_id=instance_id, module_name="Registry", summary=True
        )
        body = await self._call(
            "ListInstanceEndpoint",
            lambda client: client.list_instance_endpoint_with_options_async(
                request, sdk.runtime_options()
            ),
        )
        return tuple(
            Way(
                kind=one.endpoint_type or "",
                enabled=bool(one.enable),
                domains=tuple(domain.domain for domain in one.domains or () if domain.domain),
            )
            for one in body.endpoints or ()
        )

    async def switch(self, instance_id: str) -> Switch:
        """Return the P2P Acceleration switch; unknown where the API has no such question.

        Raises as `describe`.
        """
        try:
            body = await self._own("GetInstanceP2PAcceleration", {"InstanceId": instance_id})
        except sdk.CallFailed as failed:
            if failed.failure.code.startswith(("InvalidAction", "InvalidApi")):
                return UNKNOWN_SWITCH
            raise
        return _switch(body)

    async def report(self, instance_id: str, component: Mapping[str, str]) -> Switch:
        """Tell a console what runs; return whether it may share. Raises as `describe`.

        The cloud has no such call: there the switch is unknown afterwards.

        Args:
            instance_id: whose images are shared.
            component: parameters of ReportP2PComponent (docs/acr.md).
        """
        try:
            body = await self._own("ReportP2PComponent", {"InstanceId": instance_id, **component})
        except sdk.CallFailed as failed:
            if failed.failure.code.startswith(("InvalidAction", "InvalidApi")):
                return UNKNOWN_SWITCH
            raise
        return _switch(body)

    async def _own(self, action: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        """Make a call that the SDK has no method for, by the SDK's own way to do that."""
        from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params

        params = Params(
            action=action,
            version=VERSION,
            protocol="HTTPS",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        answer = await self._call(
            action,
            lambda client: client.call_api_async(
                params, OpenApiRequest(query=dict(query)), sdk.runtime_options()
            ),
        )
        return answer if isinstance(answer, Mapping) else {}

    async def _call(self, action: str, ask: _Ask) -> Any:
        credentials = await self._refresher.credentials()
        try:
            return await self._call_once(action, ask, credentials)
        except sdk.CallFailed as failed:
            if not failed.failure.code.startswith("InvalidSecurityToken"):
                raise
        # They have ended before their time, as when the role was made anew: once with new ones.
        self._refresher.forget(credentials)
        return await self._call_once(action, ask, await self._refresher.credentials())

    async def _call_once(self, action: str, ask: _Ask, credentials: Credentials) -> Any:
        client = sdk.registry_client(self._settings, credentials)
        _, host = sdk.address_of(self._settings, sdk.REGISTRY)
        answer = await sdk.call(Stage.REGISTRY, action, host, lambda: ask(client))
        if isinstance(answer, Mapping):
            body = answer["body"]
            done, code = body.get("IsSuccess"), body.get("Code")
        else:
            body = answer.body
            done, code = body.is_success, body.code
        if done is False:  # refusals may come with status 200
            raise sdk.CallFailed(
                Failure(stage=Stage.REGISTRY, action=action, target=host, code=str(code or ""))
            )
        return body


def _switch(body: Mapping[str, Any]) -> Switch:
    enable, generation = body.get("Enable"), body.get("Generation")
    return Switch(
        enabled=enable if isinstance(enable, bool) else None,
        generation=generation if isinstance(generation, int) else None,
    )

"""The route: versions, actions, replay, ambiguous parameters, the switch, the audit trail."""

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientSession

from shoal.control.api.signatures import rpc_signature
from shoal.control.store import changes
from unit.control.api.served_cloud import INSTANCE, Cloud


def _signed(cloud: Cloud, user: str, action: str, **others: str) -> dict[str, str]:
    key, secret = cloud.keys[user]
    given = {
        "Action": action,
        "Version": "2018-12-01",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "SignatureNonce": f"{action}-{sorted(others.items())}",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "AccessKeyId": key,
        **others,
    }
    return {**given, "Signature": rpc_signature("POST", given, secret)}


async def _post(cloud: Cloud, parameters: dict[str, str]) -> dict[str, object]:
    async with (
        ClientSession() as client,
        client.post(f"http://{cloud.endpoint}/", params=parameters) as answer,
    ):
        body: dict[str, object] = await answer.json()
        assert body["RequestId"] == answer.headers["x-acs-request-id"]
        return body


async def test_a_call_that_is_sent_again_is_refused_and_recorded(cloud: Cloud) -> None:
    parameters = _signed(cloud, "reader", "GetInstance", InstanceId=INSTANCE)
    assert (await _post(cloud, parameters))["Code"] == "success"
    assert (await _post(cloud, parameters))["Code"] == "SignatureNonceUsed"
    event = (await cloud.console.read(changes.events))[0]
    assert (event.allowed, event.action, event.resource) == (False, "GetInstance", INSTANCE)
    assert event.actor == cloud.keys["reader"][0]


async def test_a_clock_that_is_off_is_refused(cloud: Cloud) -> None:
    at = (datetime.now(UTC) - timedelta(minutes=16)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = await _post(cloud, _signed(cloud, "reader", "ListInstance", Timestamp=at))
    assert body["Code"] == "InvalidTimeStamp.Expired"
    body = await _post(cloud, _signed(cloud, "reader", "ListInstance", Timestamp="now"))
    assert body["Code"] == "InvalidTimeStamp.Format"


async def test_the_same_form_in_a_body_is_the_same_call(cloud: Cloud) -> None:
    parameters = _signed(cloud, "reader", "GetInstance", InstanceId=INSTANCE)
    async with (
        ClientSession() as client,
        client.post(f"http://{cloud.endpoint}/", data=parameters) as answer,
    ):
        assert (await answer.json())["InstanceId"] == INSTANCE


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ({"Version": "2000-01-01"}, "InvalidVersion"),
        ({"Action": "DropInstance"}, "InvalidAction.NotFound"),
        ({"Action": ""}, "MissingParameter"),
        ({"SignatureMethod": "HMAC-MD5"}, "InvalidSignatureMethod"),
        ({"AccessKeyId": ""}, "MissingParameter"),
        ({"PageSize": "0"}, "InvalidParameter.PageSize"),
    ],
)
async def test_a_call_that_makes_no_sense_says_why(
    cloud: Cloud, others: dict[str, str], code: str
) -> None:
    assert (await _post(cloud, _signed(cloud, "reader", "ListInstance", **others)))["Code"] == code


async def test_parameters_that_are_there_twice_or_too_many_are_refused(cloud: Cloud) -> None:
    many = "&".join(f"p{number}=1" for number in range(101))
    async with ClientSession() as client:
        for query in ("Action=a&Action=b", many):
            async with client.post(f"http://{cloud.endpoint}/?{query}") as answer:
                assert (await answer.json())["Code"] == "InvalidParameter"
        async with client.get(f"http://{cloud.endpoint}/", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/console/instances"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Authorization": "Basic x"}, "InvalidAuthorization"),
        (
            {
                "Authorization": "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature="
                + "0" * 64
            },
            "IncompleteSignature",
        ),
        ({"x-acs-content-sha256": "0"}, "SignatureDoesNotMatch"),
        ({"x-odd": "\x85"}, "InvalidHeader"),
    ],
)
async def test_headers_that_prove_nothing_are_refused(
    cloud: Cloud, headers: dict[str, str], code: str
) -> None:
    asked = {"x-acs-action": "GetInstance", "x-acs-version": "2018-12-01", **headers}
    async with (
        ClientSession() as client,
        client.post(f"http://{cloud.endpoint}/", headers=asked) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["Code"] == code


async def test_the_switch_keeps_the_rules_of_the_pages(cloud: Cloud) -> None:
    ask = {"InstanceId": INSTANCE, "Enable": "true"}
    action = "SetInstanceP2PAcceleration"
    assert (await _post(cloud, _signed(cloud, "reader", action, **ask)))["Code"] == "NoPermission"
    refused = await _post(cloud, _signed(cloud, "owner", action, **ask))
    assert refused["Code"] not in ("success", "NoPermission")
    done = await _post(cloud, _signed(cloud, "owner", action, **ask, Confirm="true"))
    assert (done["Enable"], done["Generation"]) == (True, 1)
    odd = await _post(cloud, _signed(cloud, "owner", action, InstanceId=INSTANCE, Enable="maybe"))
    assert odd["Code"] == "InvalidParameter.Enable"
    state = await _post(
        cloud, _signed(cloud, "reader", "GetInstanceP2PAcceleration", InstanceId=INSTANCE)
    )
    assert state["Enable"] is True

"""TokenRelay: tokens by the front's own realm, and a pull while registry and realm are away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shoal.agent.front.answers import Cause
from shoal.agent.front.memory import Memory
from shoal.agent.front.token_asking import MAX_FORM_BYTES
from shoal.agent.front.token_relay import LOCAL_PREFIX, is_local
from shoal.core.trust.access import AccessTable
from shoal.core.trust.realms import Realm, Realms
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer, Disconnect, Hang
from unit.agent.front.conftest import HASTY, World, running
from unit.agent.front.runtime import Runtime

ALICE = ("alice", "secret-of-alice")


def tokens() -> RegistryAuth:
    """Alice may read team/app, Bob bob/app, anybody public/app."""
    return RegistryAuth(
        mode=AuthMode.BEARER,
        accounts={
            "alice": Account("secret-of-alice", repositories=("team/app",), identity_token="idt"),
            "bob": Account("secret-of-bob", repositories=("bob/app",)),
        },
        public=("public/app",),
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(auth=tokens()) as made:
        yield made


@pytest.fixture
async def forgetful() -> AsyncIterator[World]:
    """A front that asks the registry about everything, as long as it answers."""
    memory = Memory(access=AccessTable(trusted_for_s=0.0, grace_s=600.0))
    async with running(auth=tokens(), memory=memory) as made:
        yield made


async def test_the_challenge_leads_to_the_front_and_its_token_is_the_realms(world: World) -> None:
    image = world.add_image()
    alice = Runtime(world, ALICE)
    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
    assert alice.realms == [alice.realms[0]]
    assert alice.realms[0].startswith(f"{world.base}/token/")
    assert world.registry.counters.requests["POST token"] == 1


@pytest.mark.parametrize("sends_forms", [True, False])
async def test_what_one_token_was_allowed_counts_for_the_accounts_next(
    world: World, sends_forms: bool
) -> None:
    image = world.add_image()
    assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    asked = world.requests()
    later = Runtime(world, ALICE, sends_forms=sends_forms)
    assert (await later.get("/v2/team/app/tags/list")).status == 200  # has a token now
    asked = world.requests()
    assert (await later.get(image.by_digest)).status == 200
    assert (await later.get(image.blob())).status == 200
    assert world.requests() == asked


async def test_a_token_for_one_repository_opens_nothing_else_that_its_account_may_have(
    world: World,
) -> None:
    image = world.add_image()
    public = world.add_image("public/app", layers=(b"public" * 100,))
    assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    other = Runtime(world, ALICE)
    assert (await other.get(public.by_tag)).status == 200
    narrow = {"Authorization": f"Bearer {other.token}"}
    assert (await world.get(image.blob(), headers=narrow)).status == 401


async def test_whoever_guesses_gets_the_realms_no_and_no_token(world: World) -> None:
    image = world.add_image()
    assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    for login in (("alice", "guessed"), ("nobody", "x")):
        assert await Runtime(world, login).pull(image.by_tag, image.blob()) == [401, 401, 401]
    assert await Runtime(world).pull(image.by_tag, image.blob()) == [401, 401, 401]
    # The right one is not shut out by it.
    assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]


async def test_only_realms_that_a_registry_named_are_asked(world: World) -> None:
    made_up = Realm(world.registry.address, "http://127.0.0.1:9/token").id
    for path in ("/token/", "/token/x", f"/token/{made_up}", "/token/../v2/"):
        answer = await world.ask_url("GET", f"{world.base}{path}")
        assert answer.status == 404
    assert world.requests() == 0
    assert set(world.metrics.causes) == {Cause.TOKEN}


async def test_with_registry_and_realm_away_an_accepted_account_pulls_by_tag_and_digest(
    forgetful: World,
) -> None:
    image = forgetful.add_image()
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    forgetful.registry.fail(Disconnect())
    for sends_forms in (True, False):
        alice = Runtime(forgetful, ALICE, sends_forms=sends_forms)
        head = await alice.ask("HEAD", image.by_tag)
        assert head.status == 200
        assert head.headers["Warning"].startswith("110 ")
        assert alice.token is not None
        assert alice.token.startswith(LOCAL_PREFIX)
        assert (await alice.get(image.by_digest)).body == image.body
        assert (await alice.get(image.blob())).body == image.blobs[0]
    assert forgetful.metrics.causes.count(Cause.REGISTRY_UNAVAILABLE) >= 2


async def test_with_only_the_realm_away_an_accepted_account_still_pulls(forgetful: World) -> None:
    image = forgetful.add_image()
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    forgetful.registry.fail(Answer(503), route="token")
    alice = Runtime(forgetful, ALICE)
    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
    sent = [seen.headers.get("Authorization", "") for seen in forgetful.registry.log]
    assert not any(LOCAL_PREFIX in header for header in sent)


async def test_an_anonymous_pull_of_a_public_image_goes_on_as_well(forgetful: World) -> None:
    image = forgetful.add_image("public/app")
    assert await Runtime(forgetful).pull(image.by_tag, image.blob()) == [200, 200, 200]
    forgetful.registry.fail(Disconnect())
    assert await Runtime(forgetful).pull(image.by_tag, image.blob()) == [200, 200, 200]
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [401, 401, 401]


async def test_in_an_outage_nobody_else_gets_anything(forgetful: World) -> None:
    image = forgetful.add_image()
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    bobs = forgetful.add_image("bob/app", layers=(b"bob" * 100,))
    bob = ("bob", "secret-of-bob")
    assert await Runtime(forgetful, bob).pull(bobs.by_tag, bobs.blob()) == [200, 200, 200]
    forgetful.registry.fail(Disconnect())
    for login in (None, ("alice", "guessed"), ("nobody", "x")):
        assert await Runtime(forgetful, login).pull(image.by_tag, image.blob()) == [401, 401, 401]
    # Bob is let in, and has what he had: not Alice's, under her repository or his own.
    stranger = Runtime(forgetful, bob)
    assert (await stranger.get(bobs.blob())).status == 200
    assert (await stranger.get(image.blob(repository="bob/app"))).status == 404
    assert (await Runtime(forgetful, bob).get(image.blob())).status == 404


async def test_an_account_that_the_realm_refused_is_out_also_in_an_outage(forgetful: World) -> None:
    image = forgetful.add_image()
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    old = Runtime(forgetful, ALICE)
    assert (await old.get(image.by_tag)).status == 200
    auth = forgetful.registry.auth
    auth.accounts = {"alice": Account("changed", repositories=("team/app",))}
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [401, 401, 401]
    forgetful.registry.fail(Disconnect())
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [401, 401, 401]
    assert (await old.get(image.blob())).status == 401


async def test_after_the_grace_period_the_outage_shuts_everybody_out() -> None:
    memory = Memory(access=AccessTable(trusted_for_s=0.0, grace_s=0.3), realms=Realms(grace_s=0.3))
    async with running(auth=tokens(), memory=memory) as world:
        image = world.add_image()
        assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
        world.registry.fail(Disconnect())
        await asyncio.sleep(0.31)
        assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [401, 401, 401]


async def test_when_the_registry_is_back_a_local_token_is_exchanged_for_a_real_one(
    forgetful: World,
) -> None:
    image = forgetful.add_image()
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
    forgetful.registry.fail(Disconnect())
    alice = Runtime(forgetful, ALICE)
    assert (await alice.get(image.by_tag)).status == 200
    assert is_local(f"Bearer {alice.token}")
    forgetful.registry.heal()
    other = forgetful.add_image("bob/app", layers=(b"bob" * 100,))
    # For another repository it is no token, and a front that was restarted does not know it.
    assert (await alice.get(other.blob())).status == 401
    alice.token = LOCAL_PREFIX + "of-before-a-restart"
    assert (await alice.get(image.by_tag)).status == 200
    assert not is_local(f"Bearer {alice.token}")
    sent = [seen.headers.get("Authorization", "") for seen in forgetful.registry.log]
    assert not any(LOCAL_PREFIX in header for header in sent)


async def test_where_the_realm_cannot_be_asked_from_here_clients_are_sent_to_it(
    world: World,
) -> None:
    image = world.add_image()
    world.registry.fail(Answer(503), route="token")
    alice = Runtime(world, ALICE)
    assert (await alice.get(image.by_tag)).status == 401
    world.registry.heal()
    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
    assert [realm.startswith(world.base) for realm in alice.realms] == [True, False]


async def test_a_realm_that_hangs_is_waited_for_as_long_as_a_registry() -> None:
    async with running(auth=tokens(), limits=HASTY) as world:
        image = world.add_image()
        world.registry.fail(Hang(), route="token")
        assert (await Runtime(world, ALICE).get(image.by_tag)).status == 401


async def test_an_identity_token_is_an_account_too(world: World) -> None:
    image = world.add_image()
    answer = await world.get(image.by_tag)
    realm = answer.headers["WWW-Authenticate"].partition('realm="')[2].partition('"')[0]
    form = "grant_type=refresh_token&refresh_token={}&scope=repository:team/app:pull"
    for token, status in (("idt", 200), ("wrong", 401)):
        async with world.session.post(
            realm,
            data=form.format(token),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ) as given:
            assert given.status == status
            assert given.headers["Cache-Control"] == "no-store"


async def test_an_expired_token_says_nothing_of_its_account(forgetful: World) -> None:
    forgetful.registry.auth.token_lifetime_s = 1
    image = forgetful.add_image()
    alice = Runtime(forgetful, ALICE)
    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
    await asyncio.sleep(1.0)
    forgetful.registry.auth.revoke_tokens()
    headers = {"Authorization": f"Bearer {alice.token}"}
    assert (await forgetful.get(image.blob(), headers=headers)).status == 401
    forgetful.registry.fail(Disconnect())
    assert await Runtime(forgetful, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]


async def test_a_form_is_bounded_in_size_and_time() -> None:
    async with running(auth=tokens(), limits=HASTY) as world:
        image = world.add_image()
        await Runtime(world, ALICE).get(image.by_tag)
        realm = Realm(
            world.registry.address, f"{world.registry.url}/token", world.registry.auth.service
        )
        head = f"POST /token/{realm.id} HTTP/1.1\r\nHost: 127.0.0.1:{world.front.port}\r\n"
        over = f"{head}Content-Length: {MAX_FORM_BYTES + 1}\r\n\r\n" + "a" * (MAX_FORM_BYTES + 1)
        assert b" 413 " in (await world.raw(over.encode())).splitlines()[0]
        slow = f"{head}Content-Length: 10\r\n\r\nabc"
        assert b" 408 " in (await world.raw(slow.encode())).splitlines()[0]
        twice = (
            f"{head}Authorization: Basic a\r\nAuthorization: Basic b\r\nContent-Length: 0\r\n\r\n"
        )
        assert b" 400 " in (await world.raw(twice.encode())).splitlines()[0]


async def test_web_pages_and_other_hosts_get_no_token(world: World) -> None:
    image = world.add_image()
    await world.get(image.by_tag)
    asked = world.requests()
    answer = await world.get(image.by_tag)
    realm = answer.headers["WWW-Authenticate"].partition('realm="')[2].partition('"')[0]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        async with world.session.post(realm, data="a=b", headers=headers) as refused:
            assert refused.status == 403
    assert world.requests() == asked + 1


async def test_other_methods_are_refused_at_a_realm(world: World) -> None:
    for method in ("PUT", "DELETE", "HEAD"):
        answer = await world.ask_url(method, f"{world.base}/token/x")
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="x"', 'Bearer realm="file:///etc"', "Bearer realm=", 'Bearer service="x"', "%%"],
)
async def test_a_challenge_that_cannot_be_relayed_passes_unchanged(
    world: World, challenge: str
) -> None:
    image = world.add_image()
    world.registry.fail(Answer(401, headers={"WWW-Authenticate": challenge}))
    answer = await world.get(image.by_tag)
    assert answer.headers["WWW-Authenticate"] == challenge


async def test_without_a_realm_an_outage_is_a_404_as_ever(world: World) -> None:
    image = world.add_image()
    world.registry.fail(Disconnect())
    assert (await world.get(image.by_tag)).status == 404


async def test_in_an_outage_a_basic_registrys_clients_are_asked_for_their_password() -> None:
    memory = Memory(access=AccessTable(trusted_for_s=0.0, grace_s=600.0))
    auth = RegistryAuth(mode=AuthMode.BASIC, accounts=tokens().accounts)
    async with running(auth=auth, memory=memory) as world:
        image = world.add_image()
        assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
        world.registry.fail(Disconnect())
        assert await Runtime(world, ALICE).pull(image.by_tag, image.blob()) == [200, 200, 200]
        assert (await Runtime(world, ALICE).get(image.by_digest)).body == image.body
        assert await Runtime(world).pull(image.by_tag, image.blob()) == [401, 401, 401]
        guessing = Runtime(world, ("alice", "guessed"))
        assert await guessing.pull(image.by_tag, image.blob()) == [404, 404, 404]

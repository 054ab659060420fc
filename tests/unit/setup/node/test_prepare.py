"""prepare: the store is the agent's; only a node without a good certificate waits for one."""

import os
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from shoal.core.errors import ShoalError
from shoal.setup.node.controller import ControllerError
from shoal.setup.node.prepare import give_store, see_to_certificate
from unit.setup.node.signing import DAYS, Signing


class Clock(Event):
    """Waits no time, and lets a test act meanwhile."""

    def __init__(self, signing: Signing, *, returns_after: int = 10**6) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._signing = signing
        self._returns_after = returns_after

    def wait(self, timeout: float | None = None) -> bool:
        """Note it; after some times the controller is back."""
        self.waits.append(timeout or 0)
        if len(self.waits) == self._returns_after:
            self._signing.error = None
        if len(self.waits) > 50:
            self.set()
        return self.is_set()


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path)


def test_a_new_node_waits_for_the_controller(signing: Signing) -> None:
    signing.error = ControllerError("away")
    clock = Clock(signing, returns_after=3)
    see_to_certificate(signing.identity(), stop=clock)
    assert clock.waits == [2, 4, 8]
    assert signing.identity().is_good


def test_a_node_with_a_good_certificate_does_not_wait(signing: Signing) -> None:
    signing.identity().renew()
    signing.now += timedelta(days=DAYS * 0.9)
    signing.error = ControllerError("away")
    clock = Clock(signing)
    see_to_certificate(signing.identity(), stop=clock)
    assert clock.waits == []


def test_one_that_is_good_for_long_is_not_asked_for(signing: Signing) -> None:
    for _ in range(2):
        see_to_certificate(signing.identity(), stop=Clock(signing))
    assert signing.signed == 1


def test_an_authority_that_the_node_has_not_heard_of_is_waited_for(signing: Signing) -> None:
    known = (signing.folder / "ca.crt").read_bytes()
    signing.change_authority()
    told = (signing.folder / "ca.crt").read_bytes()
    (signing.folder / "ca.crt").write_bytes(known)

    class Told(Clock):
        def wait(self, timeout: float | None = None) -> bool:
            (signing.folder / "ca.crt").write_bytes(told)
            return super().wait(timeout)

    clock = Told(signing)
    see_to_certificate(signing.identity(), stop=clock)
    assert len(clock.waits) == 1
    assert signing.identity().is_good


def test_sigterm_ends_the_waiting(signing: Signing) -> None:
    signing.error = ControllerError("away")
    see_to_certificate(signing.identity(), stop=Clock(signing))
    assert not signing.identity().is_good


def test_the_store_and_all_in_it_is_the_agents_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "blobs").mkdir(parents=True)
    (store / "blobs" / "a").write_text("content")
    (store / "blobs" / "link").symlink_to("/etc/hostname")
    user = 65532 if os.geteuid() == 0 else os.geteuid()
    group = 65532 if os.geteuid() == 0 else os.getegid()
    give_store(store, user=user, group=group)
    for path in (store, *store.rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (user, group)
    assert store.stat().st_mode & 0o777 == 0o700
    assert (store / "blobs" / "a").read_text() == "content"


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="none: No such file"):
        give_store(tmp_path / "none", user=0, group=0)

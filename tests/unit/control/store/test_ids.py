"""New ids have the cloud's forms and do not repeat."""

import re

from shoal.control.store import ids


def test_ids_have_the_forms_that_clients_expect() -> None:
    assert re.fullmatch(r"cri-[a-z0-9]{16}", ids.instance_id())
    assert re.fullmatch(r"LTAI5t[A-Za-z0-9]{18}", ids.access_key_id())
    assert re.fullmatch(r"[A-Za-z0-9]{30}", ids.access_key_secret())
    assert re.fullmatch(r"3\d{17}", ids.principal_id())
    assert re.fullmatch(r"1\d{15}", ids.account_id())
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", ids.request_id())
    assert len(ids.web_token()) == 43


def test_no_two_are_alike() -> None:
    assert len({ids.instance_id() for _ in range(1000)}) == 1000

"""`shoal policy`: what it prints holds, and what others wrote is judged."""

import json
from pathlib import Path

import pytest

from shoal.cli.main import main

ROLE = "acs:ram::1234:role/edge"
PROVIDER = "acs:ram::1234:oidc-provider/ack-rrsa-c1"
ISSUER = "https://oidc.example/c1"
FORMS = {
    "ram": (),
    "trust": ("--oidc-provider-arn", PROVIDER, "--issuer", ISSUER),
    "cross-account": ("--role-arn", ROLE),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_what_is_printed_is_judged_to_lack_nothing(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", form, *FORMS[form]]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "document.json"
    file.write_text(printed)
    assert main(["policy", form, *FORMS[form], "--check", str(file)]) == 0
    assert capsys.readouterr().out == "nothing is missing\n"


@pytest.mark.parametrize("form", list(FORMS))
def test_another_document_is_told_what_it_lacks(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        **({"Resource": "*"} if form == "ram" else {"Principal": {"RAM": ["acs:ram::1:root"]}}),
    }
    file = tmp_path / "document.json"
    file.write_text(json.dumps({"Version": "1", "Statement": [other]}))
    assert main(["policy", form, *FORMS[form], "--check", str(file)]) == 1
    assert capsys.readouterr().out.startswith("MISSING  ")


def test_the_edition_takes_an_action_that_the_documentation_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "document.json"
    main(["policy", "ram"])
    file.write_text(capsys.readouterr().out)
    assert main(["policy", "ram", "--edition", "--check", str(file)]) == 1
    assert "cr:GetInstance is not allowed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cross-account", "--role-arn", "edge"), "--role-arn 'edge'"),
        (("trust", "--oidc-provider-arn", PROVIDER, "--issuer", "x"), "--issuer 'x'"),
        (("ram", "--check", "/nonexistent"), "cannot read /nonexistent"),
    ],
)
def test_what_cannot_be_used_is_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", *words]) == 2
    assert said in capsys.readouterr().err

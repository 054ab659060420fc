"""`shoal policy`: the documentation's policy documents, filled in; and what a given one lacks."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from shoal.core.cloud import policies
from shoal.core.cloud.policies import Lack
from shoal.core.console import fields
from shoal.core.errors import BadInput

MAX_BYTES = 64 * 1024

policy_app = typer.Typer(
    help="Policy documents of the component, to paste or to check (docs/acr.md).",
    no_args_is_help=True,
)

CheckOption = Annotated[
    Path | None,
    typer.Option("--check", help="File with a document to judge instead; - reads standard input."),
]


@policy_app.command("ram")
def ram(
    check: CheckOption = None,
    edition: Annotated[
        bool,
        typer.Option("--edition", help="With cr:GetInstance, which the documentation leaves out."),
    ] = False,
) -> None:
    """Print what the worker role, the RAM user or the RAM role may do.

    Exit codes: 0 printed, or nothing is lacking; 1 the checked document lacks something.
    """
    if check is None:
        print(policies.permissions_document(edition=edition))
        return
    actions = (*policies.NEEDED_ACTIONS, *([policies.EDITION_ACTION] if edition else []))
    _judge(policies.lacking_permissions(_read(check), actions=actions))


@policy_app.command("trust")
def trust(
    oidc_provider_arn: Annotated[str, typer.Option(help="ARN of the cluster's OIDC IdP.")],
    issuer: Annotated[str, typer.Option(help="URL of the cluster's OIDC IdP.")],
    check: CheckOption = None,
) -> None:
    """Print the trust policy of the role that the component's service accounts assume.

    Exit codes: 0 printed, or nothing is lacking; 1 the checked document lacks something; 2 an ARN
    or issuer is none.
    """
    provider = _checked("--oidc-provider-arn", fields.arn, oidc_provider_arn)
    url = _checked("--issuer", fields.issuer, issuer)
    if check is None:
        print(policies.trust_document(provider_arn=provider, issuer=url))
        return
    _judge(policies.lacking_trust(_read(check), provider_arn=provider, issuer=url))


@policy_app.command("cross-account")
def cross_account(
    role_arn: Annotated[str, typer.Option(help="ARN of account A's role (rrsa.rrsaRoleARN).")],
    check: CheckOption = None,
) -> None:
    """Print the trust policy of account B's role, which account A's role assumes.

    Account A's role has AliyunSTSAssumeRoleAccess attached besides, and account B's role what
    `shoal policy ram` prints.

    Exit codes: 0 printed, or nothing is lacking; 1 the checked document lacks something; 2 the ARN
    is none.
    """
    role = _checked("--role-arn", fields.arn, role_arn)
    if check is None:
        print(policies.trusting_role_document(role))
        return
    _judge(policies.lacking_trust_in_role(_read(check), role_arn=role))


def _checked(option: str, accepts: fields.Check, text: str) -> str:
    try:
        return accepts(text)
    except BadInput as error:
        raise BadInput(f"{option} {text!r}: {error}") from error


def _read(path: Path) -> str:
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(MAX_BYTES)
        else:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        return raw.decode()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not text") from error


def _judge(lacks: Sequence[Lack]) -> None:
    for lack in lacks:
        print(f"MISSING  {lack.message}")
    if lacks:
        raise typer.Exit(1)
    print("nothing is missing")

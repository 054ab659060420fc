"""`shoal certs init|issue|rotate|revoke|show`: the certificates that agents show each other."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shoal.cli.certs_show import show_authority, show_files
from shoal.core.errors import BadInput

if TYPE_CHECKING:
    from shoal.adapters.certificates.authority_folder import AuthorityFolder
    from shoal.adapters.certificates.certificate import Certificate
    from shoal.core.trust.identity import Role

certs_app = typer.Typer(
    help="Make, replace and revoke the certificates that agents show each other "
    "(docs/certificates.md).",
    no_args_is_help=True,
)

Authority = Annotated[
    Path,
    typer.Option(
        "--ca",
        help="The authority's folder. Keep it on one machine that is no node, and back it up.",
    ),
]
_AUTHORITY = Path("shoal-ca")
Days = Annotated[float, typer.Option(min=0.01, max=36500, help="How long it holds, in days.")]


@certs_app.command()
def init(
    cluster: Annotated[
        str, typer.Option(help="Name of the cluster: lower-case letters, digits, dots, hyphens.")
    ],
    ca: Authority = _AUTHORITY,
    days: Days = 3650,
) -> None:
    """Make the cluster's certificate authority.

    Exit codes:
    0 done;
    1 there is one already, or a file could not be written;
    2 bad usage.
    """
    from shoal.adapters.certificates.authority_folder import AuthorityFolder

    made = AuthorityFolder.make(ca, cluster, days=days)
    print(f"made the authority of {cluster} in {ca}, good until {_day(made.signer.certificate)}")
    print("next: `shoal certs issue --node NAME --address ADDRESS` for every node")


@certs_app.command()
def issue(
    node: Annotated[
        str | None, typer.Option("--node", help="The node's name, as Kubernetes has it.")
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            help="Address at which other nodes reach it: peer.address. May be repeated.",
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="What its holder may do besides: operator. May be repeated."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Whose it is, where it is no node's: an operator's name.")
    ] = "",
    request: Annotated[
        Path | None,
        typer.Option(
            "--csr", help="Sign this request, for a key that the node has made and keeps."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tls.crt, tls.key, ca.crt and revoked.crl.  [default: the name]",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over a certificate and key that are there.")
    ] = False,
    ca: Authority = _AUTHORITY,
    days: Days = 365,
) -> None:
    """Make a certificate and its key for a node or an operator, or sign a node's request.

    The names in a request count for nothing: --node and --address say whose it is,
    and a request that asks for other names is refused.

    Exit codes:
    0 done;
    1 there is no authority, the request is refused, or a file is there already;
    2 bad usage.
    """
    roles = [_role(text) for text in role or ()]
    if node is None and not roles:
        raise BadInput("whose certificate? --node NAME --address ADDRESS, or --role operator")
    if node is not None and not address:
        raise BadInput(f"--address: at which address do other nodes reach {node}?")
    if node is None and (not name or address or request is not None):
        raise BadInput("an operator's certificate has a --name, and neither --address nor --csr")
    folder = _open(ca)
    pem = None
    if request is not None:
        from shoal.adapters.certificates.files import read

        if roles:
            raise BadInput("--role: a request is signed for a node, and gets no role")
        pem = read(request)
    target = out or Path(node or name)
    folder.require_free(target, with_key=request is None, replace=replace)
    issued = folder.issue(
        node=node, addresses=address or (), roles=roles, name=name, days=days, request=pem
    )
    folder.hand_out(target, issued, replace=replace)
    _say_if_rotating(folder)
    made = issued.certificate
    print(f"made a certificate for {made.identity} in {target}, good until {_day(made)}")
    if node is not None:
        print("next: copy the folder to the node, and name its files in peer.tls of its settings")


@certs_app.command()
def rotate(
    finish: Annotated[
        bool, typer.Option("--finish", help="Trust the new authority alone from now on.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Finish although nodes are left that nobody would believe."),
    ] = False,
    ca: Authority = _AUTHORITY,
    days: Days = 3650,
) -> None:
    """Replace the authority by a new one, in two steps with an overlap between.

    The first step makes the new authority, which signs from now on; both are
    trusted. When every node has a certificate of the new one, --finish drops the
    old one. No agent has to be restarted, and nobody is refused meanwhile.

    Exit codes:
    0 done;
    1 nothing was changed, and the text says why;
    2 bad usage.
    """
    from shoal.adapters.certificates.errors import CertificateError

    folder = _open(ca)
    if not finish:
        folder.rotate(days=days)
        print(f"made a new authority, {folder.signer.certificate.name}; both are trusted now")
        print(
            "next, in this order:\n"
            f"  1. copy {ca}/ca.crt and {ca}/revoked.crl to every node, over the old ones\n"
            "  2. for every node: shoal certs issue --node NAME --address ADDRESS --replace, and\n"
            "     copy tls.crt and tls.key to it\n"
            "  3. shoal certs rotate --finish, and copy ca.crt and revoked.crl once more\n"
            "An agent takes new files within 5 s and logs peer_certificate_renewed."
        )
        return
    left = folder.left_behind(now=datetime.now(UTC)) if folder.is_rotating else ()
    if left and not force:
        raise CertificateError(
            f"{len(left)} have certificates of the old authority only, and nobody would believe "
            f"them any more: {', '.join(left[:20])}{' ...' if len(left) > 20 else ''}: issue "
            f"new ones first, or finish with --force"
        )
    for dropped in folder.finish():
        print(f"dropped {dropped.name}, and its key")
    print(f"next: copy {ca}/ca.crt and {ca}/revoked.crl to every node, over the old ones")


@certs_app.command()
def revoke(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Nodes or operators, all of whose certificates are revoked."),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--certificate", help="This certificate only. May be repeated."),
    ] = None,
    ca: Authority = _AUTHORITY,
) -> None:
    """Revoke certificates: their holders are refused once the nodes have the new list.

    Exit codes:
    0 done;
    1 there is no such certificate, or a file could not be written;
    2 bad usage.
    """
    if not names and not file:
        raise BadInput("which? NAME ..., or --certificate FILE")
    folder = _open(ca)
    found = [*_named(folder, names or []), *_in_files(file or [])]
    folder.revoke(found)
    for certificate in found:
        print(f"revoked {certificate.name}, {certificate.serial:x}, of {_day(certificate)}")
    print(
        f"next: copy {ca}/revoked.crl to every node. Each refuses the holder within 5 s of having "
        f"it, and closes the connections that stand"
    )


@certs_app.command()
def show(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Certificates, or nodes' folders.  [default: the authority and all]"),
    ] = None,
    ca: Authority = _AUTHORITY,
    warn_days: Annotated[
        float, typer.Option("--warn-days", min=0, help="Warn so many days before an end.")
    ] = 14,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print whose certificates there are, until when they hold, and which end soon.

    Exit codes:
    0 all hold for a while;
    1 one has ended or ends soon, or a file could not be read;
    2 bad usage.
    """
    if files:
        well = show_files(files, warn_days=warn_days, json_output=json_output)
    else:
        well = show_authority(_open(ca), warn_days=warn_days, json_output=json_output)
    if not well:
        raise typer.Exit(1)


def _open(path: Path) -> "AuthorityFolder":
    from shoal.adapters.certificates.authority_folder import AuthorityFolder

    return AuthorityFolder(path)


def _say_if_rotating(folder: "AuthorityFolder") -> None:
    if folder.is_rotating:
        print(
            "shoal: warning: two authorities are trusted: a replacement is under way "
            "(`shoal certs rotate --finish` ends it)",
            file=sys.stderr,
        )


def _role(text: str) -> "Role":
    from shoal.core.trust.identity import Role

    try:
        return Role(text)
    except ValueError:
        raise BadInput(f"--role {text[:80]!r}: expected {' or '.join(Role)}") from None


def _named(folder: "AuthorityFolder", names: list[str]) -> "list[Certificate]":
    from shoal.adapters.certificates.errors import CertificateError

    now = datetime.now(UTC)
    issued = folder.issued()
    found = []
    for name in names:
        its = [c for c in issued if c.name == name[:64] and c.not_after > now]
        if not its:
            raise CertificateError(
                f"{name}: no certificate that holds was issued here for that name"
            )
        found += its
    return found


def _in_files(paths: list[Path]) -> "list[Certificate]":
    from shoal.adapters.certificates.certificate import read_certificates
    from shoal.adapters.certificates.files import read

    return [read_certificates(read(path), name=str(path))[0] for path in paths]


def _day(certificate: "Certificate") -> str:
    return f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"

"""What `shoal certs show` prints: whose, until when, by whom, and what is wrong with it."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.core.trust.identity import Refused

if TYPE_CHECKING:
    from shoal.adapters.certificates.authority_folder import AuthorityFolder
    from shoal.adapters.certificates.certificate import Certificate
    from shoal.adapters.certificates.trust import Trust


@dataclass(frozen=True, slots=True)
class Line:
    """One certificate as it is shown."""

    name: str
    kind: str
    addresses: tuple[str, ...]
    not_after: str
    days_left: int
    serial: str
    fingerprint: str
    issuer: str
    state: str
    """`good`, `ends soon`, `replaced` by a later one, or why it is refused."""

    @property
    def is_well(self) -> bool:
        """Whether nobody has to do anything about it."""
        return self.state in ("good", "replaced", "revoked")


def show_authority(folder: "AuthorityFolder", *, warn_days: float, json_output: bool) -> bool:
    """Print what an authority's folder holds; return whether all is well."""
    now = datetime.now(UTC)
    current = {certificate.serial for certificate in folder.current().values()}
    lines = [_line(c, None, warn_days=warn_days, now=now) for c in folder.trust.authorities]
    for certificate in folder.issued():
        line = _line(certificate, folder.trust, warn_days=warn_days, now=now)
        if certificate.serial not in current and line.state != "revoked":
            line = _replaced(line)
        lines.append(line)
    return _print(lines, json_output=json_output)


def show_files(paths: Iterable[Path], *, warn_days: float, json_output: bool) -> bool:
    """Print the certificates in files and nodes' folders; return whether all is well."""
    from shoal.adapters.certificates.authority_folder import BUNDLE, CERTIFICATE, LISTS
    from shoal.adapters.certificates.certificate import read_certificates
    from shoal.adapters.certificates.files import read
    from shoal.adapters.certificates.trust import Trust

    now = datetime.now(UTC)
    lines: list[Line] = []
    for path in paths:
        trust = None
        if path.is_dir():
            lists = path / LISTS
            trust = Trust.read(
                read(path / BUNDLE),
                read(lists) if lists.exists() else None,
                name=str(path / BUNDLE),
                revoked_name=str(lists),
            )
            path = path / CERTIFICATE
        lines.extend(
            _line(certificate, trust, warn_days=warn_days, now=now)
            for certificate in read_certificates(read(path), name=str(path))
        )
    return _print(lines, json_output=json_output)


def _line(
    certificate: "Certificate", trust: "Trust | None", *, warn_days: float, now: datetime
) -> Line:
    kind, addresses = "authority", frozenset[str]()
    try:
        identity = certificate.identity
        kind = "node" if identity.node is not None else "operator"
        if identity.node is not None and identity.roles:
            kind = f"node, {', '.join(sorted(identity.roles))}"
        addresses = identity.addresses
    except Refused:
        pass
    left = certificate.not_after - now
    state = "good" if left > timedelta(days=warn_days) else "ends soon"
    if left <= timedelta(0):
        state = "expired"
    elif trust is not None:
        try:
            trust.verified(certificate, now=now)
        except Refused as refused:
            state = str(refused.reason).replace("_", " ")
    return Line(
        name=certificate.name,
        kind=kind,
        addresses=tuple(sorted(addresses)),
        not_after=f"{certificate.not_after:%Y-%m-%d %H:%M}",
        days_left=left.days,
        serial=f"{certificate.serial:x}",
        fingerprint=certificate.fingerprint,
        issuer=certificate.issuer_name,
        state=state,
    )


def _replaced(line: Line) -> Line:
    return Line(**{**asdict(line), "state": "replaced"})


def _print(lines: Sequence[Line], *, json_output: bool) -> bool:
    well = all(line.is_well for line in lines)
    if json_output:
        print(json.dumps({"ok": well, "certificates": [asdict(line) for line in lines]}))
        return well
    for line in lines:
        print(f"{line.name} ({line.kind}): {line.state}, until {line.not_after} UTC")
        if line.addresses:
            print(f"    addresses   {', '.join(line.addresses)}")
        print(f"    serial      {line.serial}")
        print(f"    fingerprint {line.fingerprint}")
        print(f"    signed by   {line.issuer}")
    for line in lines:
        if not line.is_well:
            left = f"{line.days_left} days" if line.days_left >= 0 else "no days"
            print(
                f"shoal: warning: {line.name}: {line.state}, {left} left: {_remedy(line)}",
                file=sys.stderr,
            )
    return well


def _remedy(line: Line) -> str:
    if line.kind == "authority":
        return "`shoal certs rotate` makes another authority"
    return "`shoal certs issue ... --replace` makes a new one"

"""A controller that signs without a network, on a clock that is set by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shoal.adapters.certificates.authority import Authority
from shoal.setup.node.controller import Controller, ControllerError, Signed
from shoal.setup.node.identity import Identity

ADDRESS = "10.0.0.7"
DAYS = 30


class Signing(Controller):
    """Signs for one node, while it is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(namespace="ns", authority=folder / "ca.crt")
        self.folder = folder
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.address = ADDRESS
        self.signed = 0
        self.answer: str | None = None
        self.error: ControllerError | None = None
        self.change_authority()

    def change_authority(self) -> None:
        """Sign by another authority from now on, which nodes are told of."""
        self.authority = Authority.make("c", now=self.now - timedelta(days=1))
        (self.folder / "ca.crt").write_bytes(self.authority.certificate.pem)

    def sign(self, csr: str) -> Signed:
        """Sign, or fail as a test wants it."""
        if self.error is not None:
            raise self.error
        self.signed += 1
        certificate = self.authority.sign_request(
            csr.encode(), node="n7", addresses=[self.address], days=DAYS, now=self.now
        )
        authorities = self.authority.certificate.pem.decode()
        return Signed(self.answer or certificate.pem.decode(), authorities)

    def identity(self) -> Identity:
        """Return the identity of the node for which this signs."""
        return Identity(
            self.folder / "identity",
            self,
            address=ADDRESS,
            authority=self.folder / "ca.crt",
            now=lambda: self.now,
            jitter=lambda: 1.0,
        )

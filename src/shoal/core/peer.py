"""What a peer is called."""

from typing import NewType

# The peer API's address as membership spells it: "10.0.0.7:65002" or "[fd00::7]:65002". It becomes
# the name in the peer's certificate where peers speak TLS.
PeerId = NewType("PeerId", str)

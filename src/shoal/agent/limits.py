"""The limits in force on this node; which of them bytes on their way have to ask."""

from collections.abc import Hashable

from shoal.agent.settings import LimitsSettings
from shoal.agent.throttle import Throttle


class Limits:
    """Rates for what comes in and what goes out.

    What comes from registries has a rate of its own and counts towards the download's too.
    """

    def __init__(self) -> None:
        """Begin without any limit; needs a running loop."""
        self.upload = Throttle()
        self.download = Throttle()
        self.registry = Throttle()
        self.peer_connections = 0
        self.memory_bytes = 0
        self.apply(LimitsSettings())

    def apply(self, settings: LimitsSettings) -> None:
        """Keep to these from now on."""
        self.upload.set(settings.upload_bytes_per_s)
        self.download.set(settings.download_bytes_per_s)
        self.registry.set(settings.registry_bytes_per_s)
        self.peer_connections = settings.peer_connections
        self.memory_bytes = settings.memory_bytes

    def stop(self) -> None:
        """Set no timers any more."""
        for throttle in (self.upload, self.download, self.registry):
            throttle.stop()


class RegistryPace:
    """`shoal.adapters.origin.pace.Pace`: both rates that bytes from a registry have to keep to."""

    def __init__(self, limits: Limits) -> None:
        self._both = (limits.registry, limits.download)

    @property
    def rate_bytes_per_s(self) -> int | None:
        """The lower of the two, or None if there is neither."""
        rates = [t.rate_bytes_per_s for t in self._both if t.rate_bytes_per_s is not None]
        return min(rates, default=None)

    @property
    def stretch_bytes(self) -> int:
        """How much to take at a time, in bytes."""
        return min(throttle.stretch_bytes for throttle in self._both)

    async def take(self, flow: Hashable, size_bytes: int) -> None:
        """Wait until `size_bytes` of `flow` may be used."""
        for throttle in self._both:
            await throttle.take(flow, size_bytes)

"""Which registries there are to ask, by every name, and how each proves who it is."""

import ssl
from collections.abc import Sequence

from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.connections import tls_context
from shoal.core.errors import SettingsError
from shoal.core.reference import DOCKER_HUB, DOCKER_HUB_ALIASES


class KnownRegistries:
    """The registries that may be asked, by each of their names, and how each proves who it is."""

    def __init__(self, registries: Sequence[RegistryConfig]) -> None:
        """Read their `ca_file`s.

        Raises:
            SettingsError: two registries have a name or alias in common, or a `ca_file` is wrong.
        """
        self.by_name: dict[str, RegistryConfig] = {}
        for registry in registries:
            hub = DOCKER_HUB_ALIASES if registry.name == DOCKER_HUB else ()
            for name in sorted({registry.name, *registry.aliases, *hub}):
                if name in self.by_name:
                    raise SettingsError(
                        f"registries {self.by_name[name].name!r} and {registry.name!r} both claim "
                        f"the name {name!r}"
                    )
                self.by_name[name] = registry
        public = ssl.create_default_context()  # 20 ms of parsing: shared where nothing is added
        self.tls = {
            registry.name: tls_context(registry) if registry.ca_file is not None else public
            for registry in registries
        }

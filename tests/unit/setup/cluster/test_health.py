"""Health for the kubelet; the controller's tests have the rest."""

import pytest
from prometheus_client import CollectorRegistry

from shoal.core.errors import SettingsError
from shoal.setup.cluster.health import health


async def test_a_port_that_is_taken_is_named() -> None:
    def well() -> str:
        return ""

    async with health(CollectorRegistry(), not_ready=well, host="127.0.0.1", port=0) as port:
        with pytest.raises(SettingsError, match=f"port {port}"):
            async with health(CollectorRegistry(), not_ready=well, host="127.0.0.1", port=port):
                pass

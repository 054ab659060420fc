"""runtime_at: which files a runtime has."""

from pathlib import Path

import pytest

from shoal.setup.node.containerd import ContainerdNode
from shoal.setup.node.crio import CrioNode
from shoal.setup.node.runtimes import runtime_at
from shoal.setup.node.told import RuntimePlace, RuntimeType


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (RuntimeType.CONTAINERD, ContainerdNode),
        (RuntimeType.K3S, ContainerdNode),
        (RuntimeType.CRIO, CrioNode),
    ],
)
def test_k3s_has_containerds_files_and_cri_o_its_own(type_: RuntimeType, kind: type) -> None:
    assert isinstance(runtime_at(RuntimePlace(type_, Path("/x"))), kind)

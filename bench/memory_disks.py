"""Folders of a bed in memory, where a benchmark must not measure this machine's disk."""

from pathlib import Path

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import run


def mount_memory(path: Path, *, size_bytes: int) -> None:
    """Put a folder of a bed into memory; taking the bed down unmounts it.

    Raises:
        BedError: it cannot be mounted.
    """
    path.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(path)])


def keep_registry_in_memory(bed: Bed, *, size_bytes: int) -> None:
    """Let the registry of a new bed keep in memory what is pushed to it."""
    mount_memory(bed.registry.folder / "storage", size_bytes=size_bytes)


def keep_containerd_in_memory(node: Node, *, size_bytes: int) -> None:
    """Restart containerd with an empty root in memory, which `wipe` empties and leaves there."""
    node.containerd.stop()
    mount_memory(node.containerd.folder / "root", size_bytes=size_bytes)
    node.containerd.start()


def remove_agent_in_memory(node: Node) -> None:
    """End an agent whose store is in memory, and give that memory back.

    Not waiting for the last of its threads: one that is in the middle of a write may outlive the
    process by a moment, and the store cannot be unmounted so long.
    """
    node.agent.kill()
    run(["umount", "--lazy", str(node.agent.store)])
    node.remove_agent()

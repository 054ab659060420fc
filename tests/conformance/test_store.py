"""The stores that ship, through the suite for stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.adapters.store.base import Store
from shoal.adapters.store.disk import DiskStore
from shoal.adapters.store.memory import MemoryStore
from shoal.testing.conformance_store import StoreConformance


class TestMemoryStore(StoreConformance):
    """The store that tests use."""

    @contextmanager
    def store(self, quota_bytes: int) -> Iterator[Store]:
        """Return an empty store, closed at the end."""
        store = MemoryStore(quota_bytes=quota_bytes)
        try:
            yield store
        finally:
            store.close()


class TestDiskStore(StoreConformance):
    """The store that agents use."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "store"

    @contextmanager
    def store(self, quota_bytes: int) -> Iterator[Store]:
        """Return an empty store, closed at the end."""
        store = DiskStore(self.folder, quota_bytes=quota_bytes, reserve_bytes=0)
        try:
            yield store
        finally:
            store.close()

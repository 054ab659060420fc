"""listeners: the users that have a port, as the kernel's tables say."""

import os
import socket
from pathlib import Path

from shoal.setup.node.ports import listeners

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:FDE9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:FDE9 0100007F:0001 01 00000000:00000000 00:00000000 00000000  1001        0 2
   2: 00000000:FDEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3
"""


def test_who_listens_is_told_by_user_and_who_is_connected_is_not(tmp_path: Path) -> None:
    (tmp_path / "self" / "net").mkdir(parents=True)
    (tmp_path / "self" / "net" / "tcp").write_text(TABLE)
    assert listeners(65001, proc=tmp_path) == {1000}
    assert listeners(65002, proc=tmp_path) == {0}
    assert listeners(65003, proc=tmp_path) == frozenset()


def test_a_real_socket_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert os.getuid() in listeners(listener.getsockname()[1])

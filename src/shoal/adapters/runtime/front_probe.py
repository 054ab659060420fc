"""Asks whether an agent's front answers, before a runtime is pointed at it."""

import http.client
import time
from enum import StrEnum
from urllib.parse import urlsplit

from shoal.core.errors import BadInput

# What an agent's front calls itself in its answers' Server header.
FRONT_NAME = "shoal"
_PAUSE_S = 0.2


class FrontAnswer(StrEnum):
    """What came back from the front's address."""

    ANSWERS = "answers"
    REFUSES = "refuses"  # harmless: containerd asks the registry at once
    SILENT = "silent"  # dangerous: containerd waits for an answer for ever
    FOREIGN = "foreign"  # another program has the port: it would be sent what is for registries


def probe_front(url: str, *, timeout_s: float = 2.0) -> FrontAnswer:
    """Ask the front at `url` for the version check of the registry API.

    Args:
        url: such as http://127.0.0.1:65001.
        timeout_s: bound on connecting, and on waiting for the answer, in seconds.

    Raises:
        BadInput: `url` is not plain HTTP with a host.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise BadInput(f"not an agent's address: {url[:160]!r}; expected http://127.0.0.1:65001")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/v2/")
        name = connection.getresponse().getheader("Server")
    except ConnectionError:
        return FrontAnswer.REFUSES
    except TimeoutError:
        return FrontAnswer.SILENT
    except http.client.HTTPException:
        return FrontAnswer.FOREIGN
    except OSError:
        return FrontAnswer.REFUSES
    finally:
        connection.close()
    return FrontAnswer.ANSWERS if name == FRONT_NAME else FrontAnswer.FOREIGN


def wait_for_front(url: str, *, wait_s: float) -> FrontAnswer:
    """Ask until the front answers or `wait_s` seconds have passed; return the last result.

    Raises:
        BadInput: `url` is not plain HTTP with a host.
    """
    until = time.monotonic() + wait_s
    while True:
        left_s = until - time.monotonic()
        answer = probe_front(url, timeout_s=min(2.0, max(0.5, left_s)))
        if answer is FrontAnswer.ANSWERS or left_s <= _PAUSE_S:
            return answer
        time.sleep(_PAUSE_S)

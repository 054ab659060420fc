"""The same scenario gives the same result, always."""

import hashlib
import json
import os
import subprocess
import sys

from shoal.sim.run import run
from shoal.sim.scenario import Scenario

DOCUMENT = {
    "title": "t",
    "registry": {"rate": "100Mbit/s"},
    "nodes": [
        {
            "count": 25,
            "rate": "100Mbit/s",
            "stagger": "1s",
            "dies": {"share": 0.1, "back_after": "2s", "noticed_after": "1s"},
        }
    ],
    "sites": [{"name": "site", "loss": 0.001}],
    "image": [{"size": "8MB", "count": 3}],
}


PROGRAM = """
import hashlib, json, sys
from shoal.sim.run import run
from shoal.sim.scenario import Scenario
results = run(Scenario.model_validate(json.loads(sys.argv[1])))
print(hashlib.sha256(json.dumps(results.as_json()).encode()).hexdigest())
"""


def fingerprint(seed: int) -> str:
    results = run(Scenario.model_validate({**DOCUMENT, "seed": seed}))
    return hashlib.sha256(json.dumps(results.as_json()).encode()).hexdigest()


def test_the_seed_decides_everything() -> None:
    assert fingerprint(1) == fingerprint(1)
    assert fingerprint(1) != fingerprint(2)


def test_a_run_is_the_same_under_any_hash_seed() -> None:
    seen = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(DOCUMENT)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout.strip()
        for seed in ("0", "1", "77")
    }
    assert seen == {fingerprint(1)}

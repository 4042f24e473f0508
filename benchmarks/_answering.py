"""A measuring process of our own environment: requests as JSON lines in, records out.

Each line names what to do and holds its arguments. Programs of one request take turns, round by
round, so that a busy machine slows all of them.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import jax

Record = dict[str, Any]
PACKAGES = ("theorylab", "jax", "jaxlib", "optax")


def in_turns(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Record]:
    """Wall and CPU-seconds of each call in each round; every call is made once before."""
    found: dict[str, Record] = {name: {"wall": [], "cpu": []} for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            jax.block_until_ready(call())
            found[name]["wall"].append(time.perf_counter() - wall)
            found[name]["cpu"].append(time.process_time() - cpu)
    return found


def status() -> Record:
    """Versions."""
    return {"versions": {name: version(name) for name in PACKAGES}}


def answer_requests(handlers: Mapping[str, Callable[..., Record]]) -> None:
    """Answer requests until the input ends; ``status`` is known without a handler."""
    known = {"status": status, **handlers}
    # Whatever a library prints must not get between the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer = known[request.pop("do")](**request)
        out.write(json.dumps(answer) + "\n")
        out.flush()

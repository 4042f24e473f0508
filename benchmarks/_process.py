"""Workers: processes that answer one JSON object a line."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = ROOT / ".oracles-venv" / "bin" / "python"
# The peers of SOAP, PyTorch among them (make_peers.sh).
SOAP_PYTHON = ROOT / ".peers-venv" / "bin" / "python"


def peer_exists() -> bool:
    """Whether the environment of the predecessor has been made (its stamp is written last)."""
    return PEER_PYTHON.exists() and (ROOT / ".oracles-venv" / ".stamp").exists()


def environment() -> dict[str, str]:
    """Give a worker's environment: CPU, and BLAS left to choose for the machine it finds.

    These two variables pin OpenBLAS to one processor type and cache size; where they are set, they
    would time that choice. They are removed for the workers alone.
    """
    removed = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    return {**kept, "JAX_PLATFORMS": "cpu"}


class Worker:
    """A persistent process; ``ask`` sends a request and waits for its answer."""

    def __init__(self, python: str | Path, script: Path, *arguments: str) -> None:
        # The checkout is importable in our environment only: the peers' have modules of their own.
        ours = Path(python) not in (PEER_PYTHON, SOAP_PYTHON)
        paths = {"PYTHONPATH": str(ROOT) if ours else ""}
        self.command = [str(python), str(script), *arguments]
        self.process = subprocess.Popen(
            self.command,
            env={**environment(), **paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request; the answer, or RuntimeError when the process has ended."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"worker {self.command[1:]} ended with status {code} at {request}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

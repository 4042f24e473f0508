"""What every test has: no network, no window, a list of allowed skips, and two contexts.

Nothing here changes JAX's configuration for the whole run. Double precision, strict promotion and
several devices are asked for where they are needed, so that the other tests see what users see.
"""

import ipaddress
import os
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from zlib import crc32

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.toml"
# Beside what is slow, these run in CI as users compile them even where the rest is compiled faster:
# they ask for more digits than other programs than users' would give, or start programs themselves.
AS_USERS_COMPILE = (
    "tests/benchmarks/",
    "tests/empirical/",
    "tests/experiments/",
    "tests/kernels/test_spatial.py",
    "tests/oracles/test_mp_",
    "tests/packaging/",
)


# Contexts ---------------------------------------------------------------------------------------


@pytest.fixture
def x64():
    """Double precision for one test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion():
    """Raise where our own functions mix dtypes or ranks; optax and flax do not run under it."""
    import jax

    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_end_with_their_module():
    """A thousand compiled networks take gigabytes, and compiling beside them has crashed."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


# No network -------------------------------------------------------------------------------------


def _is_local(host) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_the_network(event: str, args: tuple) -> None:
    """Refuse, as an audit hook, every address but loopback and unix sockets (plain paths)."""
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise RuntimeError(f"a test opened a socket to {address}: tests use loopback only")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        if not _is_local(args[0]):
            raise RuntimeError(f"a test looked up {args[0]!r}: tests use loopback only")


# An audit hook sees every socket that Python opens, however it was imported; it cannot be removed,
# which is what one wants for the life of a test process.
sys.addaudithook(_refuse_the_network)


# Collection and skips ---------------------------------------------------------------------------


def pytest_ignore_collect(collection_path, config):
    """Leave the scripts beside the tests alone: with doctests on, pytest would import them."""
    if collection_path.is_dir() or collection_path.name.startswith(("test_", "conftest")):
        return None
    return True


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config, items):
    """Mark what CI never runs on programs that were compiled otherwise than users compile them.

    With THEORYLAB_THIRD (0, 1 or 2) only that third of all tests is run, drawn by their names; with
    THEORYLAB_SLOW_THIRD that third of the slow ones, and all others.
    """
    third, slow_third = (os.environ.get(f"THEORYLAB_{name}") for name in ("THIRD", "SLOW_THIRD"))
    parts = {True: [], False: []}
    for item in items:
        own = str(crc32(item.nodeid.encode()) % 3)
        left_out = third not in (None, own) or (
            slow_third not in (None, own) and item.get_closest_marker("slow") is not None
        )
        parts[not left_out].append(item)
    if parts[False]:
        config.hook.pytest_deselected(items=parts[False])
        items[:] = parts[True]
    for item in items:
        if item.get_closest_marker("slow") or item.nodeid.startswith(AS_USERS_COMPILE):
            item.add_marker("as_users_compile")


class _Skips:
    """Fails a run on a skip that allowed_skips.toml does not name."""

    def __init__(self):
        entries = tomllib.loads(ALLOWED_SKIPS.read_text()).get("skip", [])
        self.allowed = [(entry["test"], entry["reason"]) for entry in entries]
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and not any(fnmatch(report.nodeid, test) for test, _ in self.allowed):
            self.unexpected.append(f"{report.nodeid}: {report.longrepr}")

    def pytest_collectreport(self, report):
        self.pytest_runtest_logreport(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.unexpected:
            terminalreporter.section("skips that tests/allowed_skips.toml does not name", red=True)
            for line in self.unexpected:
                terminalreporter.line(line)


def pytest_configure(config):
    """Watch the skips where CI asks for it; a worker of pytest-xdist leaves that to its master."""
    if os.environ.get("THEORYLAB_CHECK_SKIPS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Skips(), "theorylab-skips")

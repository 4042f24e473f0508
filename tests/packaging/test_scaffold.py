"""The scaffold of the tests itself: it refuses the network, and changes nothing else."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

HERE = Path(__file__).parent


def test_an_address_outside_the_machine_is_refused():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s,
        pytest.raises(RuntimeError, match="loopback only"),
    ):
        s.connect(("192.0.2.1", 80))


def test_a_name_outside_the_machine_is_not_looked_up():
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.getaddrinfo("example.org", 80)


def test_loopback_works():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"x")
            with server.accept()[0] as accepted:
                assert accepted.recv(1) == b"x"


def test_single_precision_is_the_default_and_one_device_is_seen():
    assert jnp.ones(1).dtype == jnp.float32
    assert jax.device_count() == 1


def test_the_double_precision_fixture_reaches_the_test(x64):
    assert jnp.ones(1).dtype == jnp.float64


def test_the_strict_fixture_raises_on_mixed_dtypes(strict_promotion):
    with pytest.raises(ValueError, match="strict"):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.int32)


@pytest.mark.parametrize(
    ("listed", "environment", "status"),
    [
        ("", {"THEORYLAB_CHECK_SKIPS": "1"}, 1),
        ("", {}, 0),
        ('[[skip]]\ntest = "*::test_skips"\nreason = "it may"', {"THEORYLAB_CHECK_SKIPS": "1"}, 0),
    ],
    ids=["unlisted in CI", "unlisted elsewhere", "listed in CI"],
)
def test_a_skip_fails_the_run_in_ci_unless_it_is_listed(tmp_path, listed, environment, status):
    (tmp_path / "conftest.py").write_text((HERE.parent / "conftest.py").read_text())
    (tmp_path / "allowed_skips.toml").write_text(listed)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_passes(): pass\n\ndef test_skips(): pytest.skip('no reason')\n"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "THEORYLAB_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("allowed_skips.toml does not name" in done.stdout) == bool(status)
    # CI reads the last line.
    assert re.search(r"1 passed, 1 skipped in [\d.]+s", done.stdout.splitlines()[-1])

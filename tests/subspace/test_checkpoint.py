"""A run on disk: rebuilt to the bit in a fresh process, and to frozen vectors in every JAX."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import subspace
from theorylab.subspace._record import KINDS

ROOT = Path(__file__).parents[2]
LIKE = {"w": jax.ShapeDtypeStruct((40, 30), "float32"), "b": jax.ShapeDtypeStruct((30,), "float32")}
THETA = np.linspace(-1, 1, 7, dtype=np.float32)


@pytest.fixture
def saved(tmp_path):
    p = subspace.hadamard(7, like=LIKE, key=jax.random.key(11))
    subspace.save(tmp_path / "run", p, THETA)
    return tmp_path / "run", p


def test_a_fresh_process_rebuilds_the_parameters_to_the_bit(saved):
    path, p = saved
    code = (
        "import jax, sys, numpy as np\n"
        "from theorylab import subspace\n"
        "S = jax.ShapeDtypeStruct\n"
        "like = {'w': S((40, 30), 'float32'), 'b': S((30,), 'float32')}\n"
        f"p, theta = subspace.load({str(path)!r}, like)\n"
        "tree = p.apply(theta)\n"
        "sys.stdout.write(np.asarray(tree['w']).tobytes().hex())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == np.asarray(p.apply(THETA)["w"]).tobytes().hex()


def test_what_was_saved_comes_back(saved):
    path, p = saved
    again, theta = subspace.load(path, LIKE)
    np.testing.assert_array_equal(theta, THETA)
    jax.tree.map(np.testing.assert_array_equal, again.apply(theta), p.apply(THETA))
    assert subspace.record(again) == subspace.record(p)


def test_masks_scopes_redrawn_bases_and_scales_come_back(tmp_path):
    mask = {"w": True, "b": False}
    p = subspace.redraw(
        subspace.hadamard(7, like=LIKE, key=jax.random.key(1), scope="leaf", mask=mask), 5
    )
    subspace.save(tmp_path / "a", p, THETA)
    again, theta = subspace.load(tmp_path / "a", LIKE)
    np.testing.assert_array_equal(again.apply(theta)["w"], p.apply(THETA)["w"])
    s = subspace.said(subspace.hadamard(7, like=LIKE, key=jax.random.key(1)), {"w": "a", "b": 4})
    coordinates = {"theta": jnp.linspace(0, 1, 5), "lam": jnp.array([2.0, 3.0])}
    subspace.save(tmp_path / "b", s, coordinates)
    structured, theta = subspace.load(tmp_path / "b", LIKE)
    jax.tree.map(np.testing.assert_array_equal, theta, coordinates)
    assert (structured.groups, structured.labels) == (s.groups, s.labels)


def test_float64_coordinates_keep_their_digits(tmp_path):
    with jax.enable_x64(True):
        p = subspace.hadamard(7, like=LIKE, key=jax.random.key(1))
        theta = np.linspace(0, 1, 7) / 3
        subspace.save(tmp_path / "run", p, theta)
        np.testing.assert_array_equal(subspace.load(tmp_path / "run", LIKE)[1], theta)


def test_files_that_are_none_are_refused(saved, tmp_path):
    path, _ = saved
    content = path.read_bytes()
    other = tmp_path / "other"
    for changed, message in [
        (b"", "must be a file that subspace.save wrote"),
        (b"\x93NUMPY" + content, "must be a file that subspace.save wrote"),
        (content[:-1], "cut short or altered"),
        (content[:-1] + b"\x00", "cut short or altered"),
        (content.replace(b'"float32"', b'"float99"'), "dtype in .* must be one of"),
        (content.replace(b'"hadamard"', b'"rotation"'), "cut short or altered"),
        (content.replace(b'"seed": [0, 11]', b'"seed": [0, 12]'), "cut short or altered"),
        (b"[" * 200_000 + b"\n", "must be a file that subspace.save wrote"),
    ]:
        other.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            subspace.load(other, LIKE)


def test_records_that_are_none_are_refused(saved):
    values = subspace.record(saved[1])
    for changed, message in [
        ({"version": 2}, "version must be 1"),
        ({"kind": "magic"}, "kind must be one of"),
        ({"d": 2000}, "d must be from 1 to D = 1230"),
        ({"d": -7}, r"values\['d'\] is not what a record holds"),
        ({"selected": [True]}, "must have the 1 leaves"),
    ]:
        with pytest.raises(ValueError, match=message):
            subspace.rebuild(values | changed, LIKE)
    with pytest.raises(ValueError, match="values must hold 'seed'"):
        subspace.rebuild({k: v for k, v in values.items() if k != "seed"}, LIKE)


def test_other_parameters_are_refused(saved):
    path, _ = saved
    s = jax.ShapeDtypeStruct
    for like, message in [
        ({"w": LIKE["w"]}, "must have the 2 leaves"),
        (LIKE | {"b": s((31,), "float32")}, "like must have the leaves that"),
        (LIKE | {"b": s((30,), "bfloat16")}, "like must have the leaves that"),
        ({"w": LIKE["w"], "a": LIKE["b"]}, "like must have the leaves that"),
    ]:
        with pytest.raises(ValueError, match=message):
            subspace.load(path, like)


def test_a_given_basis_has_no_record():
    p = subspace.orthogonal(jnp.eye(3, 10))
    with pytest.raises(ValueError, match="projection must be drawn from a key"):
        subspace.record(p)


def test_every_kind_gives_its_frozen_numbers():
    # Made by tests/oracles/generate_subspace.py with jax 0.10.1: theta, kind by kind, P theta.
    frozen = np.load(ROOT / "tests/oracles/subspace.npz", allow_pickle=False)
    kinds = json.loads(str(frozen["kinds"]))
    assert set(kinds) == set(KINDS)
    for kind in kinds:
        for scope in ("global", "leaf"):
            values = json.loads(str(frozen[f"{kind}_{scope}_record"]))
            p = subspace.rebuild(values, LIKE)
            tree = p.apply(frozen["theta"])
            found = np.concatenate([np.ravel(tree["b"]), np.ravel(tree["w"])])
            # 1e-6 is promised; what is added in another order moves it by 4e-8.
            np.testing.assert_allclose(found, frozen[f"{kind}_{scope}"], rtol=0, atol=2e-7)

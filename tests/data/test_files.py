"""Readers of the users' own files, on files that the tests write."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from theorylab import data

NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx_bytes(array, magic=None, shape=None):
    magic = (0x800 | array.ndim) if magic is None else magic
    shape = array.shape if shape is None else shape
    return struct.pack(f">I{len(shape)}I", magic, *shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (5, 28, 28), dtype=np.uint8),
        "y_train": rng.integers(0, 10, 5, dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "y_test": rng.integers(0, 10, 3, dtype=np.uint8),
    }


def write_mnist(folder: Path, arrays, *, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in NAMES.items():
        content = idx_bytes(arrays[part])
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def test_idx_files_come_back_as_written_plain_or_compressed_with_one_fingerprint(tmp_path, arrays):
    write_mnist(tmp_path / "plain", arrays)
    write_mnist(tmp_path / "packed" / "mnist", arrays, compressed=True)
    plain = data.mnist("full", data_dir=tmp_path / "plain")
    packed = data.mnist("full", data_dir=tmp_path / "packed")
    np.testing.assert_array_equal(plain.x_train, arrays["x_train"].astype(np.float32) / 255)
    np.testing.assert_array_equal(plain.y_test, arrays["y_test"])
    assert plain.x_train.dtype == np.float32
    assert plain.y_train.dtype == np.int32
    assert plain.fingerprint == packed.fingerprint


def test_the_environment_variable_names_the_directory_when_no_argument_does(
    tmp_path, arrays, monkeypatch
):
    write_mnist(tmp_path / "a", arrays)
    monkeypatch.setenv("THEORYLAB_DATA", str(tmp_path / "a"))
    assert len(data.mnist("full").x_train) == 5
    with pytest.raises(FileNotFoundError, match="the argument data_dir"):
        data.mnist("full", data_dir=tmp_path / "empty")


def test_a_miss_names_the_file_where_it_looked_and_the_stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("THEORYLAB_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        data.mnist("full")
    for words in ("train-images-idx3-ubyte", str(tmp_path / ".cache" / "theorylab"), "subset"):
        assert words in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin.*THEORYLAB_DATA.*mnist"):
        data.cifar10()


DAMAGE = {
    "wrong magic": (lambda a: idx_bytes(a, magic=0x0D03), "magic number is 0x00000d03"),
    "labels in place of images": (lambda a: idx_bytes(a[:, 0, 0]), "magic number is 0x00000801"),
    "short": (lambda a: idx_bytes(a)[:-1], "holds 3919"),
    "long": (lambda a: idx_bytes(a) + b"\0", "holds 3921"),
    "no header": (lambda a: idx_bytes(a)[:9], "ends inside its header"),
    "empty file": (lambda a: b"", "ends inside its header"),
    "no images": (lambda a: idx_bytes(a[:0]), "empty array"),
    "huge header": (lambda a: idx_bytes(a, shape=(2**32 - 1,) * 3), "file holds 3920"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_damaged_idx_file_is_refused_with_the_reason(tmp_path, arrays, kind, compressed):
    make, message = DAMAGE[kind]
    write_mnist(tmp_path, arrays)
    content = make(arrays["x_train"])
    path = tmp_path / NAMES["x_train"]
    if compressed:
        path.write_bytes(gzip.compress(content))
        message = message.replace("holds 3921", "holds more").replace("file holds 3920", "at most")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.mnist("full", data_dir=tmp_path)


def test_a_lying_header_costs_no_memory(tmp_path, arrays):
    write_mnist(tmp_path, arrays)
    lying = idx_bytes(arrays["x_train"], shape=(2**31, 28, 28))
    for content in (lying, gzip.compress(lying)):
        (tmp_path / NAMES["x_train"]).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match="announces"):
            data.mnist("full", data_dir=tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_a_compressed_file_that_is_cut_off_or_corrupt_is_refused(tmp_path, arrays):
    write_mnist(tmp_path, arrays)
    whole = gzip.compress(idx_bytes(arrays["x_train"]))
    for content in (whole[:-100], whole[:200] + bytes(50) + whole[250:]):
        (tmp_path / NAMES["x_train"]).write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            data.mnist("full", data_dir=tmp_path)


def test_files_that_do_not_fit_together_are_refused(tmp_path, arrays):
    write_mnist(tmp_path / "a", {**arrays, "y_train": arrays["y_train"][:4]})
    with pytest.raises(ValueError, match="5 images, but .* 4 labels"):
        data.mnist("full", data_dir=tmp_path / "a")
    write_mnist(tmp_path / "b", {**arrays, "y_train": arrays["y_train"] + 10})
    with pytest.raises(ValueError, match="labels are 0 to 9"):
        data.mnist("full", data_dir=tmp_path / "b")
    write_mnist(tmp_path / "c", {**arrays, "x_test": arrays["x_test"][:, :4, :4]})
    with pytest.raises(ValueError, match=r"images of \(28, 28\) pixels"):
        data.mnist("full", data_dir=tmp_path / "c")


def write_cifar(folder: Path, rows=2):
    rng = np.random.default_rng(1)
    written = {}
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        labels = rng.integers(0, 10, rows, dtype=np.uint8)
        pixels = rng.integers(0, 256, (rows, 3, 32, 32), dtype=np.uint8)
        written[name] = (labels, pixels)
        records = np.concatenate([labels[:, None], pixels.reshape(rows, -1)], axis=1)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(records.tobytes())
    return written


def test_cifar10_pixels_and_labels_come_back_in_place(tmp_path):
    written = write_cifar(tmp_path / "cifar-10-batches-bin")
    d = data.cifar10(tmp_path)
    assert d.x_train.shape == (10, 32, 32, 3)
    labels, pixels = written["data_batch_2.bin"]
    np.testing.assert_array_equal(d.y_train[2:4], labels)
    assert d.x_train[3, 5, 7, 1] == np.float32(pixels[1, 1, 5, 7]) / np.float32(255)
    np.testing.assert_array_equal(d.y_test, written["test_batch.bin"][0])


def test_damaged_cifar10_files_are_refused_with_the_reason(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    good = path.read_bytes()
    for content, message in [
        (good[:-1], "records of 3073"),
        (b"", "0 bytes are not a positive"),
        (b"\x0b" + good[1:], "label 11 found"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            data.cifar10(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_batch_3\.bin"):
        data.cifar10(tmp_path)

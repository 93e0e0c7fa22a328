# ruff: noqa: E501 - cases, each on a line
"""Data of the user's own (NPZ, IDX, folders of pictures, functions) becomes a dataset, or is refused."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import machine, user_code
from harness.composing import compose_config
from harness.config.fingerprint import fingerprint
from harness.config.schema import references
from harness.data import dataset_digest, forget, image_cache, image_shape, load_dataset, load_splits, own
from harness.data.python_loader import call_loader
from harness.errors import ConfigError, UnusableData
from harness.records import Dataset, Split

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 4)
PICTURES = RANDOM.integers(0, 256, (12, 5, 4), np.uint8)


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    forget()


def loaded(*overrides: str) -> Dataset:
    config = compose_config(overrides)
    user_code.allow(references(config).values())
    return load_dataset(config.dataset)


def npz(file: Path, **changed: Any) -> Path:
    arrays = {"x_train": PICTURES, "y_train": LABELS, "x_test": PICTURES[:6], "y_test": LABELS[:6]} | changed
    np.savez(file, **{key: value for key, value in arrays.items() if value is not None})
    return file


def from_npz(file: Path, **changed: Any) -> Dataset:
    return loaded("dataset=npz", f"dataset.file={npz(file, **changed)}")


def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def photographs() -> Any:
    """Patches (n, 32, 32, 3) of scikit-learn's two photographs, and which of them each is of."""
    from sklearn.datasets import load_sample_images

    patches = [
        (image[row : row + 32, column : column + 32], number)
        for number, image in enumerate(load_sample_images().images)
        for row in range(0, 384, 64)
        for column in range(0, 640, 64)
    ]
    return np.array([patch for patch, _ in patches]), np.array([number for _, number in patches])


# arrays


def test_a_file_as_keras_has_them_is_a_dataset(tmp_path: Path) -> None:
    images, labels = digits()
    images = images.reshape(-1, 8, 8)
    dataset = from_npz(
        tmp_path / "digits.npz",
        x_train=images[:1000],
        y_train=labels[:1000],
        x_test=images[1000:],
        y_test=labels[1000:],
    )
    assert (dataset.name, dataset.class_names) == ("digits", tuple("0123456789"))
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(dataset.test.images, images[1000:])
    np.testing.assert_array_equal(dataset.test.labels, labels[1000:])
    assert (dataset.spec.image_shape, dataset.spec.dtype) == ((8, 8), "float32")
    assert not dataset.train.images.flags.writeable


def test_vectors_are_a_dataset_too(tmp_path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    cancer = load_breast_cancer()
    values, labels, names = cancer.data, cancer.target, cancer.target_names
    dataset = from_npz(
        tmp_path / "cancer.npz",
        x_train=values[:400],
        y_train=labels[:400],
        x_test=values[400:],
        y_test=labels[400:],
        class_names=names,
    )
    assert (dataset.class_names, dataset.spec.image_shape) == (("malignant", "benign"), (30,))
    np.testing.assert_array_equal(dataset.train.images, values[:400].astype(np.float32))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((12, 5, 4), (5, 4)), ((12, 5, 4, 1), (5, 4)), ((12, 5, 4, 3), (5, 4, 3)), ((12, 7), (7,)), ((12, 1), (1,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "becomes"),
    [("u1", "u1"), ("f4", "f4"), ("f8", "f4"), ("f2", "f4"), (">u2", "f4"), ("i2", "f4"), ("i8", "f4"), ("?", "f4")],
)
def test_numbers_of_every_kind_and_shape(
    given: tuple[int, ...], kept: tuple[int, ...], kind: str, becomes: str, tmp_path: Path
) -> None:
    images = RANDOM.integers(0, 2, given).astype(kind)
    dataset = from_npz(tmp_path / "a.npz", x_train=images, x_test=images[:6])
    assert dataset.train.images.shape == (12, *kept)
    assert dataset.train.images.dtype == becomes
    np.testing.assert_array_equal(dataset.train.images, images.reshape(12, *kept))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS + 1, ("1", "2", "3")),
        (LABELS * 100 - 100, ("-100", "0", "100")),
        (LABELS.astype(np.float32) * 5, ("0", "5", "10")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[LABELS], ("0", "1", "2")),
        (LABELS[:, None], ("0", "1", "2")),
        (LABELS.astype(np.uint64), ("0", "1", "2")),
        (np.array(["cat", "dog", "élan"])[LABELS], ("cat", "dog", "élan")),
        (np.array([b"cat", b"dog", b"eel"])[LABELS], ("cat", "dog", "eel")),
    ],
    ids=["from 1", "with gaps", "floats", "one-hot", "one-hot booleans", "a column", "unsigned", "texts", "bytes"],
)
def test_labels_of_every_kind(labels: Any, names: tuple[str, ...], tmp_path: Path) -> None:
    dataset = from_npz(tmp_path / "a.npz", y_train=labels, y_test=labels[:6])
    assert dataset.class_names == names
    np.testing.assert_array_equal(dataset.train.labels, LABELS)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:6])


def test_booleans_are_two_classes(tmp_path: Path) -> None:
    assert from_npz(tmp_path / "a.npz", y_train=LABELS == 1, y_test=LABELS[:6] == 1).class_names == ("False", "True")


def test_class_names_come_from_the_file_or_the_setting(tmp_path: Path) -> None:
    file = npz(tmp_path / "a.npz", class_names=np.array(["ant", "bee", "cow"]))
    assert loaded("dataset=npz", f"dataset.file={file}").class_names == ("ant", "bee", "cow")
    words = ("dataset=npz", f"dataset.file={file}", "dataset.class_names=[x,y,z]", "dataset.name=mine")
    assert loaded(*words).class_names == ("x", "y", "z")
    assert loaded(*words).name == "mine"
    texts = np.array(["cow", "ant", "bee"])[LABELS]
    named = from_npz(tmp_path / "b.npz", y_train=texts, y_test=texts[:6], class_names=np.array(["cow", "ant", "bee"]))
    np.testing.assert_array_equal(named.train.labels, LABELS)


@pytest.mark.parametrize(("classes", "kind"), [(100, np.uint8), (256, np.uint8), (257, np.uint16), (1000, np.uint16)])
def test_many_classes_are_split_and_given_wrong_labels(classes: int, kind: Any, tmp_path: Path) -> None:
    labels = np.tile(np.arange(classes), 6)
    images = RANDOM.integers(0, 256, (len(labels), 2, 2), np.uint8)
    file = npz(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images[:classes], y_test=labels[:classes])
    config = compose_config([
        "dataset=npz", f"dataset.file={file}", "dataset.label_noise=0.5", f"dataset.train_size={3 * classes}",
        "regime.validation.strategy=stratified", f"regime.validation.size={2 * classes}",
    ])  # fmt: skip
    dataset, splits = load_splits(config.dataset, config.regime.validation)
    assert dataset.spec.classes == classes
    assert splits.validation is not None
    assert {each.labels.dtype for each in (splits.train, splits.validation, splits.test)} == {np.dtype(kind)}
    assert np.bincount(splits.validation.labels).tolist() == [2] * classes
    assert splits.replaced is not None
    assert splits.train.labels.max() < classes
    assert np.mean(splits.replaced.given != splits.replaced.published) == 1


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no array": ({"x_test": None}, r"a\.npz: has no x_test\. .*; it has x_train, y_train, y_test\."),
    "lengths": ({"y_train": LABELS[:-1]}, r"x_train has 12 images and y_train 11 labels"),
    "none": ({"x_test": PICTURES[:0], "y_test": LABELS[:0]}, "x_test has 0 images"),
    "NaN": ({"x_train": np.where(np.arange(240).reshape(12, 5, 4) == 25, np.nan, 1.0)}, r"x_train\[1, 1, 1\] is nan, and must be a finite"),
    "infinity": ({"x_test": np.full((6, 5, 4), np.inf), "x_train": PICTURES / 1}, r"x_test\[0, 0, 0\] is inf"),
    "too large": ({"x_train": np.full((12, 5, 4), 1e39), "x_test": PICTURES[:6] / 1}, "is 1e\\+39, and is too large for float32"),
    "digits lost": ({"x_train": PICTURES.astype(int) + 2**30, "x_test": PICTURES[:6].astype(int)}, "too large for float32"),
    "shape": ({"x_test": PICTURES[:6, :4]}, r"x_train have shape \(5, 4\) and those of x_test \(4, 4\)"),
    "type": ({"x_test": PICTURES[:6] / 255}, "x_train has type uint8 and x_test float32"),
    "a number": ({"x_train": np.float64(3)}, "x_train is no array"),
    "a row": ({"x_train": np.zeros(12)}, r"x_train has shape \(12,\)"),
    "videos": ({"x_train": np.zeros((12, 2, 2, 2, 2))}, r"x_train has shape \(12, 2, 2, 2, 2\)"),
    "channels first": ({"x_train": np.zeros((12, 3, 32, 32))}, r"channels seem to come first.*moveaxis\(images, 1, -1\)"),
    "texts as images": ({"x_train": np.full((12, 5), "a")}, "x_train holds type <U1"),
    "complex": ({"x_train": np.zeros((12, 5), complex)}, "x_train holds type complex128"),
    "a new class": ({"y_test": LABELS[:6] + 7}, r"y_test\[0\] is 7, a class that y_train does not have"),
    "out of range": ({"class_names": np.array(["a", "b"])}, r"y_train\[8\] is 2; with 2 class names labels must be 0 to 1"),
    "below range": ({"y_test": LABELS[:6] - 1, "class_names": np.array(["a", "b", "c"])}, r"y_test\[0\] is -1; with 3"),
    "an empty class": ({"class_names": np.array(["a", "b", "c", "d"])}, "d has no training images"),
    "an empty column": ({"y_train": np.eye(4)[LABELS], "y_test": np.eye(4)[LABELS[:6]]}, "3 has no training images"),
    "not one-hot": ({"y_train": np.eye(3)[LABELS] * 0.5, "y_test": np.eye(3)[LABELS[:6]]}, r"y_train\[0\] is no one-hot row"),
    "two kinds": ({"y_test": np.array(["a"] * 6)}, "must have labels of one kind"),
    "fractions": ({"y_train": LABELS + 0.5}, r"y_train\[0\] is 0\.5\. Labels must be whole numbers"),
    "NaN labels": ({"y_train": np.where(LABELS == 1, np.nan, LABELS)}, r"y_train\[4\] is nan"),
    "one class": ({"y_train": LABELS * 0, "y_test": LABELS[:6] * 0}, r"1 class \(0\)\. There must be at least 2"),
    "same names": ({"class_names": np.array(["a", "a", "b"])}, "two classes are called 'a'"),
    "escape in a name": ({"class_names": np.array(["a", "\x1b[31m", "b"])}, r"class 1 is called '\\x1b\[31m'"),
    "names that are numbers": ({"class_names": np.arange(3)}, r"class_names has shape \(3,\) and type int64"),
    "dates": ({"y_train": np.array(["2020-01-01"] * 12, "M8[D]")}, r"y_train has shape \(12,\) and type datetime64"),
    "objects": ({"x_train": np.array([{}] * 12, dtype=object)}, r"x_train holds Python objects \(a pickle\), which could run code"),
    "object labels": ({"y_train": np.array(["a"] * 12, dtype=object)}, r"y_train holds Python objects \(a pickle\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_bad_arrays_are_refused_with_file_place_and_reason(case: str, tmp_path: Path) -> None:
    changed, message = FAULTS[case]
    with pytest.raises(UnusableData, match=message) as refused:
        from_npz(tmp_path / "a.npz", **changed)
    assert str(tmp_path / "a.npz") in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harmed"),)

    with pytest.raises(UnusableData, match="never loaded"):
        from_npz(tmp_path / "a.npz", y_train=np.array([Harmful()] * 12, dtype=object))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", pickle.dumps(Harmful()))
    with pytest.raises(UnusableData, match="is no archive of NumPy's, or is damaged"):
        loaded("dataset=npz", f"dataset.file={tmp_path / 'b.npz'}")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"x_train,y_train\n1,2\n", None], ids=["empty", "cut", "csv", "half"]
)
def test_what_is_no_archive_is_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    if content is None:
        content = npz(file).read_bytes()
        content = content[: len(content) // 2]
    file.write_bytes(content)
    with pytest.raises(UnusableData, match=r"a\.npz: is no archive of NumPy's, or is damaged or cut short"):
        loaded("dataset=npz", f"dataset.file={file}")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, x_train=np.zeros((2**18, 32, 32), np.uint8), y_train=LABELS, x_test=LABELS, y_test=LABELS)
    assert file.stat().st_size < 10**6
    with pytest.raises(UnusableData, match="unpacks to more than"):
        loaded("dataset=npz", f"dataset.file={file}")


def test_more_than_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (name for name in list(sys.modules) if name.startswith("harness.data.")):
        if hasattr(sys.modules[module], "available_memory"):
            monkeypatch.setattr(sys.modules[module], "available_memory", lambda: 100)
    with pytest.raises(UnusableData, match=r"a\.npz: takes 0 MiB of memory to load, and 0 MiB are free"):
        from_npz(tmp_path / "a.npz")
    with pytest.raises(UnusableData, match=r"pictures: takes 0 MiB of memory to load"):
        loaded("dataset=image_folder", f"dataset.directory={folder(tmp_path)}")
    assert machine.available_memory() > 100


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(UnusableData, match=r"a\.npz.*(there is no such file|is not a regular file)"):
        loaded("dataset=npz", f"dataset.file={file}")


def test_a_changed_file_is_read_again_and_has_another_digest(tmp_path: Path) -> None:
    file = npz(tmp_path / "a.npz")
    config = compose_config(["dataset=npz", f"dataset.file={file}"])
    first = load_dataset(config.dataset)
    assert load_dataset(config.dataset) is first
    npz(file, x_train=PICTURES[::-1])
    second = load_dataset(config.dataset)
    assert second.digest != first.digest
    moved = npz(tmp_path / "elsewhere.npz")
    other = compose_config(["dataset=npz", f"dataset.file={moved}"])
    again = load_dataset(other.dataset)
    assert again.digest == first.digest
    assert fingerprint(other, again.digest) == fingerprint(config, first.digest)
    assert fingerprint(config, second.digest) != fingerprint(config, first.digest)


# settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset=npz"], r"dataset\.file=None: dataset=npz needs an archive"),
        (["dataset=image_folder"], r"dataset\.directory=None: dataset=image_folder needs a folder"),
        (["dataset=python"], r"dataset\.loader=None: dataset=python needs a function"),
        (["dataset.file=a.npz"], r"dataset\.file=.*a\.npz: only dataset=npz reads it"),
        (["dataset=npz", "dataset.file=a", "dataset.directory=b"], r"dataset\.directory=.*: only dataset=image_folder or dataset=idx"),
        (["dataset=npz", "dataset.file=a", "dataset.image_size=[8,8]"], r"dataset\.image_size=\[8, 8\]: only dataset=image_folder"),
        (["dataset=image_folder", "dataset.directory=a", "dataset.image_size=[8]"], r"must be \[HEIGHT,WIDTH\]"),
        (["dataset=image_folder", "dataset.directory=a", "dataset.image_size=[8,0]"], r"dataset\.image_size=0: must be at least 1"),
        (["dataset=image_folder", "dataset.directory=a", "dataset.colour=gray"], r"must be one of grey, rgb\. Did you mean 'grey'\?"),
        (["dataset=image_folder", "dataset.directory=a", "dataset.test_fraction=1"], r"test_fraction=1\.0: must be above 0 and below 1"),
        (["dataset.options.size=3"], r"dataset\.options=\{'size': 3\}: only dataset=python has it"),
        (["dataset=python", "dataset.loader=tests.dataset.loaders:tiny", "dataset.options.sice=3"], r"has no option sice.*Did you mean 'size'\?"),
        (["dataset=python", "dataset.loader=tests.dataset.loaders:tyny"], r"dataset\.loader=tests\.dataset\.loaders:tyny.*Did you mean 'tiny'"),
        (["dataset=python", "dataset.loader=no_such_module:tiny"], r"there is no module no_such_module"),
        (["dataset=mnist", "dataset.class_names=[a,b]"], r"dataset\.class_names: those of mnist are known"),
        (["dataset=npz", "dataset.file=a", "dataset.class_names=[a]"], r"must have at least two names"),
        (["dataset=npz", "dataset.file=a", "dataset.name='\x1b'"], r"dataset\.name='\\x1b': must be a name"),
        (["dataset.name=cifar"], r"dataset\.name=cifar: must be one of fashion_mnist, mnist\. Data of your own: dataset=npz"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config(words)


def test_a_relative_path_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose_config(["dataset=npz", "dataset.file=data/1.10.npz"])
    assert (config.dataset.file, config.dataset.name) == (str(tmp_path / "data/1.10.npz"), "1.10")
    assert compose_config(["dataset=image_folder", "dataset.directory=cats/"]).dataset.name == "cats"
    assert compose_config(["dataset=python", "dataset.loader=tests.dataset.loaders:tiny"]).dataset.name == "tiny"


# loaders


def test_a_function_is_a_source(tmp_path: Path) -> None:
    words = ["dataset=python", "dataset.loader=tests.dataset.loaders:tiny"]
    dataset = loaded(*words, "dataset.options.classes=5", "dataset.options.size=2")
    assert (len(dataset.train), len(dataset.test), dataset.spec.image_shape, dataset.spec.classes) == (
        30,
        20,
        (2, 2),
        5,
    )
    assert loaded(*words).spec.image_shape == (3, 3)


def test_a_plan_reads_each_dataset_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(loader: str, options: dict[str, Any]) -> Any:
        calls.append(options)
        return call_loader(loader, options)

    monkeypatch.setattr(own, "call_loader", counted)
    monkeypatch.setattr(own, "_KEPT_BYTES", 0)
    words = ["dataset=python", "dataset.loader=tests.dataset.loaders:tiny"]
    configs = [compose_config([*words, f"dataset.options.classes={classes}"]).dataset for classes in range(2, 9)]
    user_code.allow(["tests.dataset.loaders:tiny"])
    for _ in range(2):
        assert {image_shape(config) for config in configs} == {(3, 3)}
        assert len({dataset_digest(config) for config in configs}) == 7
    assert len(calls) == 7


LOADERS = """
import numpy as np
x, y = np.zeros((4, 3)), np.array([0, 1, 0, 1])
def named(): return dict(x_train=x, y_train=y.tolist(), x_test=x, y_test=y, class_names=("no", "yes"))
def objects(): return (x, np.array(["a", "b", "a", "b"], dtype=object)), (x, ["a"] * 4)
def nothing(): pass
def three(): return x, y, x
def lacks(): return {"x_train": x}
def fails(): return 1 / 0
def leaves(): raise SystemExit(3)
def ragged(): return ([np.zeros((2, 2)), np.zeros((3, 3))], [0, 1]), (x, y)
def mixed(): return (x, np.array([0, "a", None, 1], dtype=object)), (x, y)
"""


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", r"returns nothing\. Return \(\(x_train, y_train\), \(x_test, y_test\)\)"),
        ("three", "returns a tuple of 3"), ("lacks", "has no y_train, x_test, y_test"),
        ("fails", r"the function failed: ZeroDivisionError: division by zero \(own_loaders.*\.py, line 9\)"),
        ("leaves", "the function failed: SystemExit: 3"), ("ragged", "x_train cannot be read as an array"),
        ("mixed", r"y_train holds Python objects \(number 0 is of type int\)"),
    ],
)  # fmt: skip
def test_what_a_function_must_return(
    function: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_loaders.py").write_text(LOADERS)
    assert loaded("dataset=python", "dataset.loader=own_loaders:named").class_names == ("no", "yes")
    assert loaded("dataset=python", "dataset.loader=own_loaders:objects").class_names == ("a", "b")
    with pytest.raises(UnusableData, match=f"dataset.loader=own_loaders:{function}: .*{message}"):
        loaded("dataset=python", f"dataset.loader=own_loaders:{function}")


def test_an_installed_package_offers_a_loader_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "offering-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[harness.datasets]\ntiny_pictures = tests.dataset.loaders:tiny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    dataset = loaded("dataset=python", "dataset.loader=tiny_pictures", "dataset.options.classes=4")
    assert (dataset.name, dataset.spec.classes) == ("tiny_pictures", 4)
    with pytest.raises(ConfigError, match=r"Installed packages offer .*tiny_pictures.*Did you mean 'tiny_pictures'\?"):
        loaded("dataset=python", "dataset.loader=tiny_picture")


# IDX


def idx(array: Any, code: int) -> bytes:
    big = np.asarray(array)
    header = bytes((0, 0, code, big.ndim)) + b"".join(side.to_bytes(4, "big") for side in big.shape)
    return header + big.astype(big.dtype.newbyteorder(">")).tobytes()


def idx_folder(folder: Path, code: int = 8, kind: str = "u1") -> Path:
    folder.mkdir()
    for name, array in (("train", PICTURES), ("test", PICTURES[:6])):
        (folder / f"emnist-letters-{name}-images-idx3-ubyte").write_bytes(idx(array.astype(kind), code))
    for name, labels in (("train", LABELS), ("test", LABELS[:6])):
        with gzip.open(folder / f"emnist-letters-{name}-labels-idx1-ubyte.gz", "wb") as stream:
            stream.write(idx((labels + 1).astype(np.uint8), 8))
    return folder


@pytest.mark.parametrize(
    ("code", "kind", "becomes"), [(8, "u1", "u1"), (0x0B, "i2", "f4"), (0x0D, "f4", "f4"), (0x0E, "f8", "f4")]
)
def test_idx_files_of_any_type_and_name(code: int, kind: str, becomes: str, tmp_path: Path) -> None:
    dataset = loaded("dataset=idx", f"dataset.directory={idx_folder(tmp_path / 'letters', code, kind)}")
    assert (dataset.name, dataset.class_names, dataset.train.images.dtype) == (
        "letters",
        ("1", "2", "3"),
        np.dtype(becomes),
    )
    np.testing.assert_array_equal(dataset.train.images, PICTURES)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:6])


def test_idx_files_of_mnist_need_no_sums(subset: Path) -> None:
    assert loaded("dataset=idx", f"dataset.directory={subset / 'mnist'}").class_names == tuple("0123456789")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda file: file.unlink(), r"letters: has no file of test images"),
        (lambda file: file.with_name("more-test-images").touch(), r"has several files of test images: emnist.*, more-test-images"),
        (lambda file: file.write_bytes(file.read_bytes()[:-3]), r"test-images-idx3-ubyte: cannot be read .*promises 6 x 5 x 4 values of 1 bytes, and 117 bytes"),
        (lambda file: file.write_bytes(b"\x89PNG" + file.read_bytes()), r"test-images-idx3-ubyte: cannot be read .*not an IDX file: it begins with 89 50 4e 47"),
        (lambda file: file.write_bytes(idx(np.zeros((6, 5, 4), np.uint8), 7)), r"not an IDX file: it begins with 00 00 07 03"),
        (lambda file: file.write_bytes(b""), "it begins with nothing"),
        (lambda file: file.write_bytes(bytes((0, 0, 8, 3)) + b"\xff" * 12), "its header promises 4294967295 x"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "is not a regular file"),
        (lambda file: file.rename(f"{file}.gz"), r"ubyte\.gz: cannot be read \(Not a gzipped file"),
    ],
    ids=["missing", "several", "cut", "png", "type", "empty", "too large", "pipe", "not packed"],
)  # fmt: skip
def test_bad_idx_files_are_refused(break_it: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "letters")
    break_it(folder / "emnist-letters-test-images-idx3-ubyte")
    with pytest.raises(UnusableData, match=message):
        loaded("dataset=idx", f"dataset.directory={folder}")


# folders of pictures


def folder(place: Path, levels: tuple[str, ...] = ("train/", "test/"), colour: str = "L", form: str = "png") -> Path:
    made = place / "pictures"
    for split in levels:
        for label, name in enumerate(("ant", "bee", "cow")):
            where = made / f"{split}{name}"
            where.mkdir(parents=True)
            for number in range(4 if split != "test/" else 2):
                Image.fromarray(PICTURES[4 * label + number]).convert(colour).save(where / f"{number}.{form}")
    return made


def contents(split: Split) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))


def test_a_folder_with_train_and_test_is_a_dataset(tmp_path: Path) -> None:
    dataset = loaded("dataset=image_folder", f"dataset.directory={folder(tmp_path)}")
    assert (dataset.name, dataset.class_names) == ("pictures", ("ant", "bee", "cow"))
    assert contents(dataset.train) == sorted(
        (image.tobytes(), label) for image, label in zip(PICTURES, LABELS, strict=True)
    )
    first = [0, 1, 4, 5, 8, 9]
    assert contents(dataset.test) == sorted((PICTURES[place].tobytes(), LABELS[place]) for place in first)
    assert list(dataset.train.labels) != sorted(dataset.train.labels)  # the first ones are no single class


def test_a_folder_of_one_level_is_split_by_a_seed(tmp_path: Path) -> None:
    place = f"dataset.directory={folder(tmp_path, ('',))}"
    one, same, other = (
        loaded("dataset=image_folder", place, "dataset.test_fraction=0.25", f"dataset.test_seed={seed}")
        for seed in (0, 0, 1)
    )
    assert np.bincount(one.test.labels).tolist() == [1, 1, 1]
    assert np.bincount(one.train.labels).tolist() == [3, 3, 3]
    assert one.digest == same.digest != other.digest
    both = np.concatenate([one.train.images, one.test.images])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in PICTURES}


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm", "tga", "pcx", "sgi", "dds"])
def test_pictures_of_many_formats(form: str, tmp_path: Path) -> None:
    place = folder(tmp_path, colour="RGB", form=form)
    dataset = loaded("dataset=image_folder", f"dataset.directory={place}", "dataset.colour=rgb")
    assert dataset.spec.image_shape == (5, 4, 3)
    if form not in ("jpg", "webp", "gif"):  # these lose something
        grey = np.repeat(PICTURES[..., None], 3, axis=3)
        assert contents(dataset.train) == sorted(
            (image.tobytes(), label) for image, label in zip(grey, LABELS, strict=True)
        )


def test_colours_and_sizes_are_chosen_or_found(tmp_path: Path) -> None:
    place = folder(tmp_path)
    Image.new("RGB", (9, 7), (255, 0, 0)).save(place / "train" / "ant" / "red.png")
    words = ["dataset=image_folder", f"dataset.directory={place}"]
    with pytest.raises(
        UnusableData,
        match=r"\.png: has \d x \d pixels \(height x width\), and .*\.png has \d x \d\. Set dataset\.image_size",
    ):
        loaded(*words)
    sized = [*words, "dataset.image_size=[6,3]"]
    assert loaded(*sized).spec.image_shape == (6, 3, 3)
    grey = loaded(*sized, "dataset.colour=grey")
    assert grey.spec.image_shape == (6, 3)
    assert any((image == 76).all() for image in grey.train.images)  # Rec. 601: 0.299 of 255


def test_photographs_keep_their_colours(tmp_path: Path) -> None:
    images, labels = photographs()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = tmp_path / "photographs" / ("china", "flower")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    dataset = loaded("dataset=image_folder", f"dataset.directory={tmp_path / 'photographs'}")
    assert (len(dataset.train), len(dataset.test), dataset.spec.image_shape) == (96, 24, (32, 32, 3))
    assert {image.tobytes() for image in images} == {
        image.tobytes() for split in (dataset.train, dataset.test) for image in split.images
    }


def test_what_is_beside_pictures_is_left_out_and_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    place = folder(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "train/.hidden", "train/ant/.DS_Store", "README.txt", "train/list.csv"):
        (place / name).write_text("no picture")
    (place / "train/ant/more").mkdir()
    (place / "train/ant/0.png").rename(place / "train/ant/more/0.png")
    assert len(loaded("dataset=image_folder", f"dataset.directory={place}").train) == 12


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no picture": (lambda place: (place / "train/bee/notes.txt").write_text("x"), r"bee/notes\.txt: it is no picture of a format"),
    "cut": (lambda place: (place / "train/bee/1.png").write_bytes((place / "train/bee/1.png").read_bytes()[:60]), r"bee/1\.png: it is damaged or cut short"),
    "empty file": (lambda place: (place / "test/bee/1.png").write_bytes(b""), r"test/bee/1\.png: it is empty"),
    "empty class": (lambda place: (place / "train/dog").mkdir(), r"train/dog: there are no pictures in it"),
    "class of test": (lambda place: (place / "test/dog").mkdir(), r"test/dog: train has no class dog"),
    "pipe": (lambda place: os.mkfifo(place / "train/bee/9.png"), r"9\.png: is no regular file"),
    "link outside": (lambda place: (place / "train/bee/9.png").symlink_to("/etc/hostname"), r"9\.png: is a link to a file outside"),
    "folder outside": (lambda place: (place / "train/dog").symlink_to("/etc"), r"train/dog: is a link to /etc, outside"),
    "loop": (lambda place: (place / "train/bee/loop").symlink_to(place / "train/bee"), r"loop: is a link to a folder that it is in"),
    "dead link": (lambda place: (place / "train/bee/9.png").symlink_to(place / "nothing"), r"9\.png: is a link to a file that is not there"),
    "no test": (lambda place: (place / "test").rename(place / "val"), r"has a folder train with classes, and no folder test"),
    "a bomb": (lambda place: Image.new("1", (9000, 9000)).save(place / "train/bee/1.png"), r"1\.png: it has 9,000 x 9,000 pixels, more than"),
    "a name": (lambda place: (place / "train/bee").rename(place / "train/\x1b[31m"), r"test/bee: train has no class bee"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_bad_folders_are_refused(case: str, tmp_path: Path) -> None:
    place = folder(tmp_path)
    break_it, message = FOLDERS[case]
    break_it(place)
    with pytest.raises(UnusableData, match=message) as refused:
        loaded("dataset=image_folder", f"dataset.directory={place}", "dataset.image_size=[4,4]")
    assert str(place) in str(refused.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no folder of pictures"), (["ant"], r"has one folder \(ant\)"),
        (["ant", "\x1b"], r"class 0 is called '\\x1b'"), (["ant", "bee"], r"has one picture, which cannot be in both .*\(2 of 2"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_split_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in names:
        (tmp_path / "pictures" / name).mkdir()
        for number in range(1 if names == ["ant", "bee"] else 3):
            Image.new("L", (4, 4)).save(tmp_path / "pictures" / name / f"{number}.png")
    with pytest.raises(UnusableData, match=message):
        loaded("dataset=image_folder", f"dataset.directory={tmp_path / 'pictures'}")


def test_a_folder_is_decoded_once_for_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder(tmp_path)
    first = loaded("dataset=image_folder", f"dataset.directory={place}")
    entries = list(image_cache.root().glob("*.npy"))
    assert [entry.stat().st_mode & 0o777 for entry in entries] == [0o600]
    forget()
    with monkeypatch.context() as no_pictures:
        no_pictures.setattr(Image, "open", None)  # decoding would fail
        assert loaded("dataset=image_folder", f"dataset.directory={place}").digest == first.digest
    Image.fromarray(PICTURES[11]).save(place / "train/ant/0.png")
    forget()
    assert loaded("dataset=image_folder", f"dataset.directory={place}").digest != first.digest
    assert len(list(image_cache.root().glob("*.npy"))) == 2
    for entry in image_cache.root().glob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:200])
    forget()
    assert len(loaded("dataset=image_folder", f"dataset.directory={place}").train) == 12


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    assert len(loaded("dataset=image_folder", f"dataset.directory={folder(tmp_path)}").train) == 12
    assert "cannot be kept there" in caplog.text


def test_a_thousand_folders_are_listed_in_no_time(tmp_path: Path) -> None:
    for label in range(1000):
        (tmp_path / "pictures" / f"class {label}").mkdir(parents=True)
        for number in range(2):
            Image.new("L", (2, 2), label % 256).save(tmp_path / "pictures" / f"class {label}" / f"{number}.png")
    began = time.monotonic()
    dataset = loaded("dataset=image_folder", f"dataset.directory={tmp_path / 'pictures'}", "dataset.test_fraction=0.5")
    assert (len(dataset.train), len(dataset.test), dataset.spec.classes) == (1000, 1000, 1000)
    assert time.monotonic() - began < 60


def test_images_in_the_order_of_their_classes_are_no_sample(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.repeat(np.arange(10), 20)
    images = np.zeros((200, 2, 2), np.uint8)
    file = npz(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = ["dataset=npz", f"dataset.file={file}"]
    for word in ("dataset.test_size=30", "regime.validation.strategy=first"):
        config = compose_config([*words, word, "regime.validation.size=30"])
        load_splits(config.dataset, config.regime.validation)
        assert "the first 30 images have 2 of 10 classes" in caplog.text
        assert word.partition("=")[0] in caplog.text
        caplog.clear()


def test_classes_of_few_images_are_split_as_far_as_they_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.concatenate([np.repeat([0, 1], 20), np.arange(2, 50), np.arange(2, 20)])  # 30 classes have one image
    images = np.zeros((len(labels), 2, 2), np.uint8)
    file = npz(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = [
        "dataset=npz",
        f"dataset.file={file}",
        "regime.validation.strategy=stratified",
        "regime.validation.size=30",
    ]
    config = compose_config(words)
    splits = load_splits(config.dataset, config.regime.validation)[1]
    assert splits.validation is not None
    assert len(splits.validation) == 30
    assert set(splits.train.labels) == set(range(50))
    assert "30 classes (20, 21, 22, ...) have one training image, which cannot be in both splits" in caplog.text
    caplog.clear()
    config = compose_config([*words, "dataset.train_size=10"])
    load_splits(config.dataset, config.regime.validation)
    assert "no image to train on: dataset.train_size=10 is small" in caplog.text

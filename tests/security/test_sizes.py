"""Small files that stand for large ones are refused before they take the memory."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.catalogue import PUBLICATIONS
from harness.data.folder import FileState, examine
from harness.errors import RequestError, StoreError
from harness.models import load_model
from harness.tracking.predictions_file import read_predictions
from harness.tracking.reading import read_runs
from harness.tracking.store import open_store
from harness.training.state import read_state, state_of_model
from harness.untrusted import bounded_model, check_archive, most_unpacked, open_arrays, unpack_gzip
from tests.security.stranger import Stranger

LARGE = 2**28
MOST = 150 * 2**20
"""What refusing may take."""


def npy(shape: tuple[int, ...], content: bytes = b"", kind: str = "|u1") -> bytes:
    """A NumPy file whose header promises `shape`, whatever follows."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def zipped(file: Path, members: dict[str, bytes], zeros: str | None = None) -> Path:
    """An archive; to the member `zeros` a lot of them is added."""
    packing = zipfile.ZIP_STORED if zeros is None else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", packing, compresslevel=1) as archive:
        for name, content in members.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(content)
                for _ in range(64 if name == zeros else 0):
                    stream.write(bytes(LARGE // 64))
    return file


def shrunk(file: Path, size: int) -> Path:
    """The archive with a directory that says `size` of each member, and a checksum that fits so much of it."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.file_size > size:
                with archive.open(member) as stream:
                    member.CRC = zlib.crc32(stream.read(size))
                member.file_size = size
        archive.mode, archive._didModify = "a", True  # type: ignore[attr-defined]
        archive.fp.close()
        archive.fp = file.open("r+b")
    return file


def taken(use: Callable[[], object]) -> int:
    """The most memory that Python took in `use`."""
    tracemalloc.start()
    try:
        use()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_file_is_counted_while_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(file, "wb", compresslevel=1) as stream:
        for _ in range(64):
            stream.write(bytes(LARGE // 64))
    file.write_bytes(file.read_bytes()[:-4] + (100).to_bytes(4, "little"))  # its size, as it says

    def use() -> None:
        with pytest.raises(RequestError, match="unpacks to more than"):
            unpack_gzip(file)
        first = examine(tmp_path, PUBLICATIONS["mnist"].sums)[0]
        assert first.state is FileState.DAMAGED
        assert "unpacks to more than" in first.problem

    assert taken(use) < MOST


def test_a_huge_raw_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "train-images-idx3-ubyte").open("wb") as stream:
        stream.truncate(50 * LARGE)
    publication = PUBLICATIONS["mnist"]
    assert "at most" in examine(tmp_path, publication.sums)[0].problem


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("name", ["state.npz", "model.keras"])
def test_an_archive_is_scored_by_its_headers_and_unpacked_no_further_than_they_say(
    name: str, told: bool, tmp_path: Path
) -> None:
    if name == "state.npz":
        members = {"version.npy": npy((), b"\x01", "|i1"), "weight_0.npy": npy((LARGE,))}
        file = zipped(tmp_path / name, members, "weight_0.npy")
    else:
        parts = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""}
        file = zipped(tmp_path / name, parts, "model.weights.h5")
    assert file.stat().st_size < 10_000_000
    if not told:
        shrunk(file, 1000)
    reads = [read_state] if name == "state.npz" else [load_model, state_of_model]

    def use() -> None:
        for read in reads:
            with pytest.raises(RequestError):
                read(file)

    load_model_imports(tmp_path)
    assert taken(use) < MOST


def load_model_imports(tmp_path: Path) -> None:
    """Keras is imported before memory is measured."""
    with pytest.raises(RequestError):
        load_model(tmp_path / "missing.keras")


def test_an_array_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "state.npz", {"version.npy": npy((10**12,), b"12")})
    with pytest.raises(RequestError, match="larger than its data"), open_arrays(file):
        pass
    with pytest.raises(RequestError, match=r"no training state|larger than"):
        read_state(file)


def test_predictions_that_unpack_to_gigabytes_name_their_run(stranger: Stranger) -> None:
    zipped(stranger.artifacts / "predictions.npz", {"test_labels.npy": npy((LARGE,))}, "test_labels.npy")
    stranger.client.set_tag(stranger.run, "harness.predictions", "predictions.npz")
    store = open_store(stranger.uri)
    with pytest.raises(StoreError, match=r"theirs.*unpacks to more"):
        read_predictions(store, read_runs(store, run_ids=[stranger.run]))


def saved(file: Path, change: Callable[[dict[str, Any]], object] = lambda layers: None) -> Path:
    """A small Keras model as Keras saves it, whose configuration was changed."""
    import keras

    inputs = keras.Input((8, 8, 1), dtype="uint8")
    hidden = keras.layers.Dense(4)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    keras.Model(inputs, keras.layers.Dense(3)(hidden)).save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change({layer["class_name"] + str(number): layer for number, layer in enumerate(config["config"]["layers"])})
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def test_a_model_is_loaded_as_before(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.keras")
    assert load_model(file).count_params() == 64 * 4 + 4 + 4 * 3 + 3
    assert len(state_of_model(file).weights) == 4


def wide(units: int) -> Callable[[dict[str, Any]], object]:
    def change(layers: dict[str, Any]) -> None:
        for name, layer in layers.items():
            if name.startswith("Dense"):
                layer["config"]["units"] = units

    return change


def grown(layers: dict[str, Any]) -> None:
    layers["InputLayer0"]["config"]["batch_shape"] = [None, 200_000, 200_000, 1]


@pytest.mark.parametrize("change", [wide(400_000), wide(10**9), grown])
def test_a_layer_that_cannot_be_in_the_file_is_not_made(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    file = saved(tmp_path / "model.keras", change)
    for read in (load_model, state_of_model):
        with pytest.raises(RequestError, match=r"too small for that|is incompatible"):
            read(file)


def test_a_layer_that_puts_out_gigabytes_is_refused(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 1), dtype="uint8")
    large = keras.layers.ZeroPadding2D(50_000)(inputs)
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(large)).save(tmp_path / "model.keras")
    with pytest.raises(RequestError, match="puts out 10,001,600,064 values"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("kind", ["sparse", "chunks", "external", "link"])
def test_weights_that_lie_about_their_size_or_lie_elsewhere_are_refused(kind: str, tmp_path: Path) -> None:
    import h5py
    import keras

    file = saved(tmp_path / "model.keras")
    weights = io.BytesIO()
    (tmp_path / "diary").write_bytes(b"private!" * 100)
    with h5py.File(weights, "w") as made:
        if kind == "sparse":
            made.create_dataset("layers/dense/vars/0", shape=(200_000, 200_000), dtype="f4", chunks=(1000, 1000))
        elif kind == "chunks":
            made.create_dataset("x", shape=(1,), maxshape=(None,), dtype="u1", chunks=(3 * 10**9,))
        elif kind == "link":
            made["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "diary"), "/x")
        else:
            made.create_dataset("x", shape=(8,), dtype="f4", external=[(str(tmp_path / "diary"), 0, 32)])
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["model.weights.h5"] = weights.getvalue()
    zipped(file, members)
    refused = pytest.raises(RequestError, match=r"unpacks to more|refers to other files")
    with refused, bounded_model(file, keras.layers.Layer):
        pass


@pytest.mark.parametrize("name", ["model.weights.npz", "model.weights.json", "../evil", "x.py"])
def test_an_archive_with_other_parts_is_no_model(name: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "model.keras")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(RequestError, match="not a part of a Keras model"):
        load_model(file)
    assert not (tmp_path.parent / "evil").exists()


def test_what_is_allowed_grows_with_the_file(tmp_path: Path) -> None:
    assert most_unpacked(1_000_000) == 2**26
    assert most_unpacked(10**9) == 20 * 10**9
    check_archive(zipped(tmp_path / "a.zip", {"x": b"1" * 10**6}))


@pytest.mark.parametrize("kind", ["two outputs", "two inputs", "no output", "any size", "float64", "name", "classes"])
def test_a_model_of_another_form_is_refused_in_a_line(kind: str) -> None:
    import keras

    from harness.models import check_classifier

    dense = keras.layers.Dense
    images = keras.Input((None if kind == "any size" else 8, 8), dtype="float64" if kind == "float64" else "uint8")
    pooled = keras.layers.GlobalAveragePooling1D(name="$x\x1b[2J" if kind == "name" else "pool")
    hidden = pooled(keras.layers.Rescaling(1 / 255)(images))
    output = dense(3, name="last" if kind == "no output" else "output")(hidden)
    outputs = [output, dense(3)(hidden)] if kind == "two outputs" else output
    inputs = [images, keras.Input((1,))] if kind == "two inputs" else images
    with pytest.raises(RequestError, match="none that the harness builds") as caught:
        check_classifier(keras.Model(inputs, outputs), (8, 8), 4 if kind == "classes" else 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", ["", "x", "28x", "-1x28", "28x28x3x1x1", "9999999x1", "\u0663x\u0663", "28x28\n"])
def test_a_recorded_shape_is_one(shape: str, stranger: Stranger) -> None:
    from harness.config.schema import Config
    from harness.run.load import recorded_shape

    for key, value in (("data.image_shape", shape), ("data.classes", "10")):
        stranger.execute("DELETE FROM params WHERE key = ?", key)
        stranger.add_parameter(key, value)
    [run] = read_runs(open_store(stranger.uri), run_ids=[stranger.run])
    with pytest.raises(RequestError, match="which should be as 28x28"):
        recorded_shape(run, Config())

"""Random damage to data of one's own: it becomes a dataset or is refused in a message, without much memory.

`HARNESS_FUZZ=100000` in the environment tries so many inputs, over all kinds: `make test-long` does.
"""

from __future__ import annotations

import gzip
import io
import os
import resource
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from harness.composing import compose_config
from harness.config.schema import Config, DatasetConfig, ValidationConfig
from harness.config.validation import validate
from harness.data import forget, load_splits
from harness.data.arrays import ARRAYS, RawData, make_dataset
from harness.errors import HarnessError

EXAMPLES = int(os.environ.get("HARNESS_FUZZ", "240")) // 6
MOST_MEMORY = 2**29
"""Bytes that an input may need; each has a few kilobytes."""
FUZZED = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
RANDOM = np.random.default_rng(0)
PICTURES, LABELS = RANDOM.integers(0, 256, (8, 4, 4), np.uint8), np.repeat([0, 1], 4)
LONGEST = 2000


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@contextmanager
def expected_errors() -> Iterator[None]:
    message = "some message"
    try:
        yield
    except HarnessError as error:
        message = str(error)
    assert 0 < len(message) < LONGEST, message


def usable(config: DatasetConfig) -> None:
    """Load it, or be refused; in little memory."""
    forget()
    before = peak_memory()
    with expected_errors():
        dataset, splits = load_splits(config, ValidationConfig())
        assert len(splits.train) * len(splits.test) > 0
        assert splits.train.images.dtype in (np.uint8, np.float32)
        assert np.isfinite(splits.train.images).all()
        assert splits.train.labels.max() < len(dataset.class_names)
    assert peak_memory() - before < MOST_MEMORY


def peak_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with bytes changed, taken out, put in or cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.one_of(st.integers(0, min(len(content), 300)), st.integers(0, len(content))))
        kind = draw(st.sampled_from(["change", "change", "delete", "insert", "cut", "number"]))
        if kind == "change":
            content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "delete":
            del content[place : place + draw(st.integers(1, 20))]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=20))
        elif kind == "number":
            content[place : place + 4] = draw(
                st.sampled_from([b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\0" * 4, b"\x80\0\0\0"])
            )
        else:
            del content[place:]
    return bytes(content)


def whole_npz(packed: bool) -> bytes:
    stream = io.BytesIO()
    names = np.array(["ant", "bee"])
    save = np.savez_compressed if packed else np.savez
    save(stream, x_train=PICTURES, y_train=LABELS, x_test=PICTURES, y_test=LABELS, class_names=names)
    return stream.getvalue()


@FUZZED
@given(content=st.one_of(damaged(whole_npz(False)), damaged(whole_npz(True)), st.binary(max_size=400)))
def test_npz_files(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "a.npz").write_bytes(content)
        usable(DatasetConfig(name="a", source="npz", file=f"{place}/a.npz"))


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


@FUZZED
@given(content=damaged(npy(PICTURES)), labels=damaged(npy(LABELS)))
def test_arrays_in_sound_archives(content: bytes, labels: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        with zipfile.ZipFile(f"{place}/a.npz", "w") as archive:
            for name, member in zip(ARRAYS, (content, labels, npy(PICTURES), npy(LABELS)), strict=True):
                archive.writestr(f"{name}.npy", member)
        usable(DatasetConfig(name="a", source="npz", file=f"{place}/a.npz"))


def whole_idx(array: Any) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim))
        + b"".join(side.to_bytes(4, "big") for side in array.shape)
        + array.astype(np.uint8).tobytes()
    )


@FUZZED
@given(
    images=st.one_of(damaged(whole_idx(PICTURES)), st.binary(max_size=60)),
    packed=damaged(gzip.compress(whole_idx(LABELS), mtime=0)),
)
def test_idx_files(images: bytes, packed: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        for name, content in {
            "train-images": images, "train-labels.gz": packed,
            "test-images": whole_idx(PICTURES), "test-labels": whole_idx(LABELS),
        }.items():  # fmt: skip
            Path(place, name).write_bytes(content)
        usable(DatasetConfig(name="a", source="idx", directory=place))
        Path(place, "train-labels.gz").unlink()
        Path(place, "train-labels").write_bytes(whole_idx(LABELS))
        usable(DatasetConfig(name="a", source="idx", directory=place))


def whole_picture(form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (9, 7, 3), np.uint8)).save(stream, form)
    return stream.getvalue()


FORMS = {
    form: whole_picture(form)
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS")
}


@FUZZED
@given(
    data=st.data(),
    form=st.sampled_from(sorted(FORMS)),
    colour=st.sampled_from(["grey", "rgb", None]),
    sized=st.booleans(),
)
def test_pictures(data: st.DataObject, form: str, colour: str | None, sized: bool) -> None:
    content = data.draw(damaged(FORMS[form]))
    with tempfile.TemporaryDirectory() as place:
        for name in ("ant", "bee"):
            for split in ("train", "test"):
                Path(place, split, name).mkdir(parents=True)
                Path(place, split, name, "0.png").write_bytes(FORMS["PNG"])
        Path(place, "train", "ant", f"1.{form.lower()}").write_bytes(content)
        usable(
            DatasetConfig(
                name="a", source="image_folder", directory=place, colour=colour, image_size=[5, 6] if sized else None
            )
        )


VALUES = st.one_of(
    arrays.arrays(
        st.one_of(
            arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(),
            arrays.floating_dtypes(), arrays.complex_number_dtypes(), arrays.datetime64_dtypes(),
            arrays.unicode_string_dtypes(max_len=3), arrays.byte_string_dtypes(max_len=3),
        ),
        arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none(), st.floats(), st.booleans()), max_size=4),
    st.none(), st.text(max_size=3), st.integers(),
)  # fmt: skip


@FUZZED
@given(
    given=st.fixed_dictionaries({
        "x_train": st.one_of(st.just(PICTURES), VALUES), "y_train": st.one_of(st.just(LABELS), VALUES),
        "x_test": st.one_of(st.just(PICTURES), VALUES), "y_test": st.one_of(st.just(LABELS), VALUES),
    }),
    names=st.one_of(st.none(), st.lists(st.text(max_size=5), max_size=4)),
)  # fmt: skip
def test_what_loaders_return(given: dict[str, Any], names: list[str] | None) -> None:
    with expected_errors():
        make_dataset("a", RawData("the loader", given, names))


SETTINGS = st.dictionaries(
    st.sampled_from(sorted(vars(DatasetConfig()))),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
        st.lists(st.integers(-2, 99), max_size=3),
        st.sampled_from(["npz", "image_folder", "idx", "python", "a:b", "os:system", "grey"]),
        st.sampled_from(["/dev/zero", "/proc/self/mem", "/dev/shm", "/sys/kernel"]),
    ),
    max_size=5,
)  # fmt: skip


@FUZZED
@given(given=SETTINGS)
def test_configurations(given: dict[str, Any]) -> None:
    """As Hydra would give them: of any value that a user can type."""
    words = [f"++dataset.{key}={_as_typed(value)}" for key, value in given.items()]
    with expected_errors():
        config = compose_config(words) if EXAMPLES < 1000 else typed(given)
        if config.dataset.source != "published":
            validate(config)
            usable(config.dataset)


def typed(given: dict[str, Any]) -> Config:
    """Without Hydra, which takes 0.1 s."""
    from omegaconf import OmegaConf

    from harness.composing import explained, typed_config

    with explained():
        content = OmegaConf.merge(OmegaConf.structured(Config), {"dataset": given})
    return typed_config(content)


def _as_typed(value: Any) -> str:
    return "null" if value is None else str(value)

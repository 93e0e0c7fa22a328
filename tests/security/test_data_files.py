"""Files and folders of data that somebody else made: they run nothing, name no other file, cannot take all memory."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from harness.cli import main
from harness.errors import RequestError
from harness.run.load import load_recorded, read_config
from harness.tracking.models import find_trained
from harness.tracking.store import open_store
from tests.security.stranger import Stranger, settings

LABELS = np.array([0, 1, 0, 1])
IMAGES = np.zeros((4, 3, 3), np.uint8)
NPZ = ("dataset=npz", "dataset.file=data.npz")
FOLDER = ("dataset=image_folder", "dataset.directory=pictures")


class Harmful:
    """Touches the file `harmed` when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("harmed").absolute(),)


def refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """What `harness train` says before it writes anything."""
    assert main(["train", *words]) == 2
    assert not Path("harmed").exists()
    assert not (Path(os.environ["HARNESS_ROOT"]) / "outputs").exists()
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def pictures() -> Path:
    for name in ("train/ant", "train/bee", "test/ant", "test/bee"):
        Path("pictures", name).mkdir(parents=True)
        Image.new("L", (3, 3)).save(Path("pictures", name, "0.png"))
    return Path("pictures/train/ant/1.png")


@pytest.mark.parametrize("name", ["x_train", "y_train", "class_names", "more"])
def test_nothing_in_an_archive_is_unpickled(name: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    np.savez("data.npz", **arrays | {name: np.array([Harmful()] * 4, dtype=object)})
    if name == "more":  # nobody reads it
        assert main(["data", "describe", *NPZ]) == 0
        assert not Path("harmed").exists()
    else:
        assert f"{name} holds Python objects (a pickle), which could run code" in " ".join(refused(NPZ, capsys).split())
    with zipfile.ZipFile("data.npz", "w") as archive:
        for key in arrays:
            archive.writestr(f"{key}.npy", pickle.dumps(Harmful()))
    assert "is no archive of NumPy's" in refused(NPZ, capsys)


def test_small_files_do_not_become_huge_arrays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez_compressed("data.npz", x_train=np.zeros((2**27,), np.uint8), y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    assert "unpacks to more than" in refused(NPZ, capsys)
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 28, 28), }"
    with zipfile.ZipFile("data.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", header.ljust(127) + b"\n")
    assert "larger than its data" in refused(NPZ, capsys)
    Path("idx").mkdir()
    for key in ("train-images", "train-labels", "test-images", "test-labels"):
        Path("idx", f"{key}.gz").write_bytes(gzip.compress(bytes(2**27)))
    assert "unpacks to more than" in refused(("dataset=idx", "dataset.directory=idx"), capsys)
    Image.new("1", (9000, 9000)).save(pictures())
    assert "9,000 x 9,000 pixels, more than" in refused(FOLDER, capsys)


def test_a_folder_of_pictures_leads_nowhere_else(
    project: Path, private: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (3, 3)).save(private / "mine.png")
    file = pictures()
    for make, message in (
        (lambda: file.symlink_to(private / "mine.png"), "is a link to a file outside"),
        (lambda: file.parent.joinpath("more").symlink_to(private), "is a link to"),
        (lambda: os.mkfifo(file), "is no regular file"),
        (lambda: file.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 3\n"), "is no picture"),
    ):  # fmt: skip
        make()
        assert message in " ".join(refused(FOLDER, capsys).split())
        for made in (file, file.parent / "more"):
            made.unlink(missing_ok=True)


def test_a_file_that_a_record_names_is_read_only_for_recorded_digests(stranger: Stranger, private: Path) -> None:
    np.savez(private / "mine.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    stranger.configure(yaml.safe_dump(settings("dataset=npz", f"dataset.file={private / 'mine.npz'}")))
    store = open_store(stranger.uri)
    record = find_trained(store, stranger.run)
    with pytest.raises(RequestError, match="no digest"):
        load_recorded(record, read_config(store, record))


def test_a_loader_that_a_record_names_is_not_imported(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("their_data.py").write_text("open('harmed', 'w')\ndef load(): pass\n")
    stranger.configure(yaml.safe_dump(settings("dataset=python", "dataset.loader=their_data:load")))
    for split in ("train", "val", "test"):
        stranger.add_parameter(f"data.{split}_digest", "0" * 8)
    store = open_store(stranger.uri)
    record = find_trained(store, stranger.run)
    with pytest.raises(RequestError, match="wants the code their_data:load, which is not imported"):
        load_recorded(record, read_config(store, record))
    assert not Path("harmed").exists()
    assert "their_data" not in sys.modules

"""Folders are written completely or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.paths import whole_folder


def listed(folder: Path) -> list[str]:
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


def test_a_folder_appears_with_everything_in_it_and_the_folders_above_it(tmp_path: Path) -> None:
    target = tmp_path / "models" / "fashion" / "1"
    with whole_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("all of it")
        assert not target.exists()
    assert listed(tmp_path) == ["models", "models/fashion", "models/fashion/1", "models/fashion/1/deep", "models/fashion/1/deep/file"]  # fmt: skip # noqa: E501


def test_a_block_that_fails_leaves_nothing_and_no_folder_above(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "models" / "fashion" / "1") as folder:
            (folder / "half").write_text("of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert listed(tmp_path) == []


def test_an_existing_folder_is_replaced_completely(tmp_path: Path) -> None:
    target = tmp_path / "model"
    (target / "old").mkdir(parents=True)
    with whole_folder(target) as folder:
        (folder / "new").write_text("")
        assert (target / "old").exists()
    assert listed(tmp_path) == ["model", "model/new"]


def test_an_existing_folder_stays_if_the_block_or_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model"
    (target / "old").mkdir(parents=True)
    rename = Path.rename

    def refuse_the_new_one(self: Path, to: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(errno.EIO, "the disk said no")
        return rename(self, to)

    def write(problem: Exception | None) -> None:
        with whole_folder(target) as folder:
            (folder / "new").write_text("")
            if problem is not None:
                raise problem

    with pytest.raises(ValueError, match="mine"):
        write(ValueError("mine"))
    monkeypatch.setattr(Path, "rename", refuse_the_new_one)
    with pytest.raises(OSError, match="the disk said no"):
        write(None)
    assert listed(tmp_path) == ["model", "model/old"]

"""A checkpoint that is damaged, encrypted, or no checkpoint costs what it held, and not the job."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import paths
from harness.errors import RequestError
from harness.run.checkpoint import Checkpoint
from harness.training.state import Progress, TrainingState, read_state, write_state

STATE = TrainingState(3, (np.ones((2, 3), np.float32),), progress=Progress(0, {"fit/loss": [3.0, 2.0, 1.0]}))


def arrays(file: Path) -> dict[str, Any]:
    with np.load(file) as archive:
        return {key: archive[key] for key in archive.files}


def flag(file: Path, place: int, value: int) -> None:
    """Change a byte of the header of every member, in both places where a ZIP archive has it."""
    content = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(magic)
        while at >= 0:
            content[at + offset + place] = value
            at = content.find(magic, at + 4)
    file.write_bytes(content)


def damage(file: Path, how: str) -> None:
    described = {"before": 0, "series": {"fit/loss": [3.0]}, "stopped": False, "callbacks": {}}
    changes: dict[str, Any] = {
        "negative": {"epochs": np.array(-3)},
        "text": {"weight_0": np.array(["a", "b"])},
        "no epochs": {"epochs": np.array("many")},
        "progress is a list": {"progress": np.array("[]")},
        "nested": {"progress": np.array("[" * 100_000)},
        "series": {"progress": np.array(json.dumps(described | {"series": {"fit/loss": ["a"] * 3}}))},
        "longer series": {"progress": np.array(json.dumps(described | {"series": {"fit/loss": [1.0] * 9}}))},
        "before": {"progress": np.array(json.dumps(described | {"before": 9}))},
        "callbacks": {"progress": np.array(json.dumps(described | {"callbacks": {"a": {"b": {"first": "x"}}}}))},
        "shape": {"weight_0": np.ones((3, 2), np.float32)},
        "one more": {"weight_1": np.ones(1, np.float32)},
    }
    match how:
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(file.read_bytes()[:-200])
        case "bytes":
            content = file.read_bytes()
            file.write_bytes(content[:120] + bytes(200) + content[320:])
        case "pickle":
            np.savez(file, **(arrays(file) | {"weight_0": np.array([{}], dtype=object)}))
        case "encrypted":
            flag(file, 0, 1)
        case "packed":
            flag(file, 2, 99)
        case "header":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("version.npy", b"\x93NUMPY\x01\x00\x10\x00((((((((((((((((")
        case _:
            np.savez(file, **(arrays(file) | changes[how]))


@pytest.mark.parametrize(
    "how",
    ["empty", "cut", "bytes", "pickle", "encrypted", "packed", "header", "negative", "text", "no epochs",
     "progress is a list", "nested", "series", "longer series", "before", "callbacks", "shape", "one more"],
)  # fmt: skip
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_anew(
    project: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoint("run", 0).keep(STATE)
    file = paths.checkpoint_file("run")
    assert Checkpoint("run", 0).read([(2, 3)]) is not None
    damage(file, how)
    assert Checkpoint("run", 0).read([(2, 3)]) is None
    assert not file.exists()
    assert [left.name for left in file.parent.iterdir()] == [f"{file.name}.damaged"]
    [said] = caplog.messages
    assert "\n" not in said
    assert file.name in said


@pytest.mark.parametrize("how", ["cut", "encrypted", "nested", "header"])
def test_a_damaged_state_is_named_in_a_line(tmp_path: Path, how: str) -> None:
    write_state(tmp_path / "state.npz", STATE)
    damage(tmp_path / "state.npz", how)
    with pytest.raises(RequestError, match=r"state\.npz is no training state") as raised:
        read_state(tmp_path / "state.npz")
    assert "\n" not in str(raised.value)

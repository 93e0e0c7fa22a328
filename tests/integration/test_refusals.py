"""What the real command answers without training: refusals and Hydra's own answers, all without TensorFlow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.conftest import SMALL, Project

pytestmark = pytest.mark.slow

# Python tells on stderr what it imports, a line each: `import time:  12 |  345 | name`.
TELLING = (sys.executable, "-X", "importtime", "-m", "harness")


def answer(project: Project, *arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """What the command said, and the modules that it imported."""
    done = project.run(*arguments, program=TELLING)
    told = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    done.stderr = "".join(f"{line}\n" for line in done.stderr.splitlines() if not line.startswith("import time:"))
    modules = {line.rpartition("|")[2].strip() for line in told}
    assert "hydra" in modules, "imports were told of"
    return done, modules


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizer=adm"], ["optimizer=adm", "must be one of adadelta, adafactor", "Did you mean 'adam'?"]),
        (["regime.epoch=3"], ["regime.epoch=3", "no such setting", "Did you mean 'regime.epochs'?"]),
        (["regime.epochs=many"], ["regime.epochs=many", "a whole number"]),
        (["model.dropout=1"], ["model.dropout=1", "at least 0 and below 1"]),
        (["regime.early_stopping.enabled=true"], ["regime.early_stopping.monitor=val/loss", "no validation split"]),
        (
            ["regime.validation.strategy=first", "regime.validation.size=2000"],
            ["regime.validation.size=2000", "at most 1999"],
        ),
        (["seed=0,1"], ["seed=0,1", "harness sweep"]),
        (["--confg", "job"], ["--confg", "harness train --hydra-help"]),
    ],
)
def test_a_wrong_request_is_refused_at_once_and_nothing_is_written(
    empty: Project, arguments: list[str], said: list[str]
) -> None:
    done, modules = answer(empty, "train", *SMALL, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    message = done.stderr[done.stderr.index("error: ") :]
    assert all(part in message for part in said), message
    assert "Traceback" not in done.stderr
    assert "tensorflow" not in modules
    assert "mlflow" not in modules
    assert list(empty.root.iterdir()) == []
    assert list(empty.elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cfg", "job", "optimizer=sgd"], ["optimizer:\n  name: sgd\n", "  epochs: 5\n"]),
        (["--info", "defaults", "model=cnn"], ["| model/cnn ", "| optimizer/adam "]),
        (
            ["--help"],
            ["model: cnn, custom, mlp, mlp_128", "experiments: augmentation, ", "  learning_rate: 0.001"],
        ),
    ],
)
def test_hydras_own_answers_need_no_tensorflow_and_write_nothing(
    empty: Project, arguments: list[str], said: list[str]
) -> None:
    done, modules = answer(empty, "train", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(part in done.stdout for part in said), done.stdout
    assert "tensorflow" not in modules
    assert list(empty.root.iterdir()) == []
    assert list(empty.elsewhere.iterdir()) == []

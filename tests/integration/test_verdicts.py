"""`harness studies` with tiny real runs: a study whose claims hold, and the same study turned round."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import cli, paths
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.slow,  # trains
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),  # MLflow's own
]

STATEMENT = """# @package _global_
#
# Question:  Does a model that has been trained longer fit its training images better?
# Expected:  Yes.
study:
  source: common knowledge
  seeds: 3
  criteria:
    - claim: five epochs fit better than one
      measure: final/train_accuracy
      row: {{regime.epochs: 5}}
      baseline: {{regime.epochs: 1}}
      {bound}: 0
    - claim: three tenths are reached in time
      measure: train/accuracy reaches 0.3
      row: {{regime.epochs: 5}}
      below: 6
  remedies:
    - {{name: one epoch, row: {{regime.epochs: 1}}, baseline: {{regime.epochs: 5}}}}
hydra:
  sweeper:
    params: {{regime.epochs: '1,5', seed: range(3)}}
tracking:
  experiment: {name}
  log_model: false
"""
SMALL = (f"dataset.directory={REPOSITORY / 'tests' / 'data'}", "dataset.train_size=100", "dataset.test_size=50")
WORDS = (*SMALL, "hydra/launcher=basic", "figures=none", "regime.batch_size=10")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("studies")
    (root / "experiments").mkdir()
    for name, bound in (("longer", "above"), ("turned", "below")):
        (root / "experiments" / f"{name}.yaml").write_text(STATEMENT.format(name="longer", bound=bound))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "experiments_directory", lambda: root / "experiments")
        patch.setenv("HARNESS_ROOT", str(root))
        patch.setenv("HARNESS_CACHE", str(root / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield root


def test_claims_that_hold_are_found(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies", "longer", *WORDS, "--format", "json"]) == 0
    [study] = json.loads(capsys.readouterr().out)["studies"]
    assert [claim["verdict"] for claim in study["criteria"]] == ["found", "found"]
    low, high = study["criteria"][0]["interval"]
    assert 0 < low < study["criteria"][0]["mean"] < high


def test_the_same_study_turned_round_fails(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies", "turned", *WORDS, "--no-train"]) == 1
    said = capsys.readouterr()
    assert re.search(r"five epochs fit better than one +below .* not found", said.out)
    assert "Not found, the contrary is shown: turned (five epochs fit better than one)." in said.err


def test_what_was_tried_is_ranked(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies", "longer", *WORDS, "--no-train", "--ranking", "--format", "json"]) == 0
    [remedy] = json.loads(capsys.readouterr().out)["remedies"]
    assert remedy["remedy"] == "one epoch"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["longer", "--no-train"], "6 of 6 runs are missing"),
        (["longer", "--quick", "--pages", "."], "--pages is for studies as they are stated"),
        (["longer", "--pages", "nowhere"], "there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_refused(
    studies: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["studies", *words]) in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())

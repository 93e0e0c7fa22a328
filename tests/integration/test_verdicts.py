"""`harness studies` with tiny real runs: a study whose claims hold, and the same study turned round."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow  # trains

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
measures: [spectral_norm, margin]
hydra:
  sweeper:
    params: {{regime.epochs: '1,5', seed: range(3)}}
tracking:
  experiment: {name}
  log_model: false
"""
SMALL = (f"dataset.directory={REPOSITORY / 'tests' / 'data'}", "dataset.train_size=100", "dataset.test_size=50")
WORDS = (*SMALL, "hydra/launcher=basic", "figures=none", "regime.batch_size=10")


PROGRAM = """
import sys
from pathlib import Path
from harness import cli, paths

folder = Path(sys.argv[1])
paths.experiments_directory = lambda: folder
sys.exit(cli.main(["studies", *sys.argv[2:]]))
"""
"""`harness studies` with the experiments of another folder."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies")
    (root / "experiments").mkdir()
    for name, bound in (("longer", "above"), ("turned", "below")):
        (root / "experiments" / f"{name}.yaml").write_text(STATEMENT.format(name="longer", bound=bound))
    return root


def studies(root: Path, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    own = {"HARNESS_ROOT": str(root), "HARNESS_CACHE": str(root / "cache")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder or root / "experiments"), *words],
        cwd=root,
        env={**{key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}, **own},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_claims_that_hold_are_found(root: Path) -> None:
    done = studies(root, "longer", *WORDS, "--format", "json")
    assert done.returncode == 0, done.stderr
    [study] = json.loads(done.stdout)["studies"]
    assert [claim["verdict"] for claim in study["criteria"]] == ["found", "found"]
    low, high = study["criteria"][0]["interval"]
    assert 0 < low < study["criteria"][0]["mean"] < high


def test_the_same_study_turned_round_fails(root: Path) -> None:
    done = studies(root, "turned", *WORDS, "--no-train")
    assert done.returncode == 1
    assert re.search(r"five epochs fit better than one +below .* not found", done.stdout)
    assert "Not found, the contrary is shown: turned (five epochs fit better than one)." in done.stderr


def test_all_pages_are_written_when_every_study_is_whole(root: Path) -> None:
    text = (root / "experiments" / "longer.yaml").read_text()
    folder, pages = root / "whole" / "experiments", root / "pages"
    folder.mkdir(parents=True)
    pages.mkdir()
    small = "".join(f"  {word.partition('.')[2].replace('=', ': ')}\n" for word in SMALL)
    own = f"engine: auto\nfigures: none\nregime:\n  batch_size: 10\ndataset:\n{small}"
    (folder / "longer.yaml").write_text(text.replace("hydra:\n", f"{own}hydra:\n  launcher: {{workers: 1}}\n", 1))
    done = studies(root, "--no-train", "--pages", str(pages), folder=folder)
    assert done.returncode == 0, done.stderr
    assert "## Verdict\n\n**2 of 2 claims found (3 seeds a row).**" in (pages / "longer.md").read_text()
    assert "one epoch" in (pages / "ranking.md").read_text()
    assert "| spectral_norm | 6 | 2 |" in (pages / "foretelling.md").read_text()


def test_what_was_tried_is_ranked(root: Path) -> None:
    done = studies(root, "longer", *WORDS, "--no-train", "--ranking", "--format", "json")
    [remedy] = json.loads(done.stdout)["remedies"]
    assert remedy["remedy"] == "one epoch"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["longer", "--no-train"], "6 of 6 runs are missing"),
        (["longer", "--quick", "--pages", "."], "--pages is for studies as they are stated"),
        (["longer", "--pages", "nowhere"], "there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_refused(root: Path, words: list[str], message: str) -> None:
    done = studies(root, *words)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())

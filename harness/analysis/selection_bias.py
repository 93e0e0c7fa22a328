"""Selection bias: which figures are too good because something was selected by them, and why.

The smallest of several gaps is smaller than a repetition with the same settings would give, and so is the loss at an
epoch that was chosen for its loss (Cawley and Talbot 2010, "On over-fitting in model selection and subsequent selection
bias in performance evaluation", Journal of Machine Learning Research 11). Figures of another split do not avoid this:
most of a run's luck is in its weights, which both splits share (docs/comparing.md says how much).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records import RunRecord

HELD_OUT = ("val", "test")


def selected_on(
    runs: Sequence[RunRecord],
    rows: int,
    scores: Sequence[str],
    sorted_by: str,
    stage: str,
    front_of: str | None = None,
) -> dict[str, tuple[str, ...]]:
    """The reasons for selection bias, by held-out split of the `scores`: rows were selected (several rows are sorted by
    a held-out score, or only their Pareto front is shown, `front_of`), epochs of runs, or learning rates of runs."""
    found = {}
    ranks = [split for split in HELD_OUT if rows > 1 and split in sorted_by.split("_")]
    for split in HELD_OUT:
        reasons = ["it ranks the rows"] if split in ranks else []
        if any(split in name.split("_") for name in scores):
            others = [other for other in ranks if other != split]
            reasons += [f"{other} ranks the rows, and most of a run's luck is in its weights" for other in others]
        if rows > 1 and split == front_of:
            reasons.append("the rows left are the front by it")
        if stage == "best" and split == "val":
            reasons.append("the epoch of its least loss was chosen")
        stopped = sum(
            _watches(run.parameters, "regime.early_stopping", "enabled", "True", split) or _restored(run, split)
            for run in runs
        )
        if stopped:
            reasons.append(f"early stopping chose the epoch by it in {_share(stopped, len(runs))}")
        slowed = sum(_watches(run.parameters, "regime.schedule", "name", "plateau", split) for run in runs)
        if slowed:
            reasons.append(f"the learning rate fell by it in {_share(slowed, len(runs))}")
        if reasons:
            found[split] = tuple(reasons)
    return found


def selects_by(parameters: Mapping[str, object], split: str) -> bool:
    """Whether a run chose its epoch or its learning rates by this split."""
    early, plateau = ("regime.early_stopping", "enabled", "True"), ("regime.schedule", "name", "plateau")
    return any(_watches(parameters, *switch, split) for switch in (early, plateau))


def _watches(parameters: Mapping[str, object], group: str, switch: str, on: str, split: str) -> bool:
    monitor = str(parameters.get(f"{group}.monitor", ""))
    return str(parameters.get(f"{group}.{switch}")) == on and monitor.startswith(f"{split}/")


def _restored(run: RunRecord, split: str) -> bool:
    """Whether early stopping restored the best weights, as logged by `mlflow.tensorflow` autologging."""
    return "restored_epoch" in run.metrics and run.parameters.get("monitor", "").startswith(f"{split}_")


def _share(count: int, of: int) -> str:
    return ("all runs" if of > 1 else "the run") if count == of else f"{count} of {of} runs"

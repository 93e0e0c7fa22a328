"""The metric names of external runs: those of Keras and Lightning, or those that the user gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.measures import shortened
from harness.errors import RequestError, suggestion
from harness.records import RunRecord

QUANTITIES: Mapping[str, tuple[str, ...]] = {
    "accuracy": (
        "accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy", "binary_accuracy",
        "multiclassaccuracy", "multiclass_accuracy",
    ),
    "loss": ("loss",),
}  # fmt: skip
"""The names of scores in Keras and Lightning, in lower case and without the split; the first match counts."""

TRAIN, VALIDATION, TEST = "train", "val", "test"
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train_", "train/", "training_", "training/"),
    VALIDATION: ("val_", "val/", "valid_", "valid/", "validation_", "validation/"),
    TEST: ("test_", "test/"),
}
_EPOCH = "_epoch"
"""Lightning's suffix for the mean over an epoch of a metric that is also logged by step."""

OWN_TAG = "harness.kind"
"""A tag that every run of the harness has from its start."""
GAP_TAG = "harness.overfitting_gap"
"""A tag of external runs whose `train/*` were measured by `harness.keras.OverfittingGap`, not averaged in training."""
NAMED = 20

Names = Mapping[str, str]
"""A run's metric names by the harness's names: `train_accuracy`, `val_loss` and so on."""


@dataclass(frozen=True)
class Naming:
    """The user's options for external runs: which metrics to read, and which parameters define rows (empty: all that
    differ, except seeds)."""

    train_accuracy: str | None = None
    held_out_accuracy: str | None = None
    train_loss: str | None = None
    held_out_loss: str | None = None
    group_by: tuple[str, ...] = ()

    @property
    def names_metrics(self) -> bool:
        """Whether the user names metrics (then for all runs); else each run is read by the known names."""
        return any((self.train_accuracy, self.held_out_accuracy, self.train_loss, self.held_out_loss))


def recognised(metrics: Iterable[str]) -> Names:
    """The metric names of a run: for each score the first name with both a training and a held-out metric."""
    actual = {name.lower(): name for name in metrics}
    found: dict[str, str] = {}
    for quantity, names in QUANTITIES.items():
        for name in names:
            train = _first(actual, [f"{prefix}{name}{end}" for end in (_EPOCH, "") for prefix in _PREFIXES[TRAIN]])
            train = train or actual.get(name)  # Keras's training metric has no prefix
            mark = "/" if "/" in (train or "") else "_"  # train/loss goes with val/loss, though Keras has its val_loss
            held_out = {
                split: _first(actual, sorted(
                    (f"{prefix}{name}{end}" for end in (_EPOCH, "") for prefix in _PREFIXES[split]),
                    key=lambda candidate: mark not in candidate.removesuffix(name),
                ))
                for split in (VALIDATION, TEST)
            }  # fmt: skip
            if train is not None and any(held_out.values()):
                found[f"{TRAIN}_{quantity}"] = train
                found |= {f"{split}_{quantity}": metric for split, metric in held_out.items() if metric is not None}
                break
    return found


def _first(actual: Mapping[str, str], candidates: Iterable[str]) -> str | None:
    return next((actual[name] for name in candidates if name in actual), None)


def split_of(name: str) -> str:
    """The split of a held-out metric, guessed from its name."""
    return TEST if re.search(r"(^|[^a-z])(test|eval)", name.lower()) else VALIDATION


def pairs(naming: Naming) -> list[tuple[str, str, str]]:
    """`accuracy` and `loss`, if named, each with its training and its held-out metric."""
    named = (
        ("accuracy", naming.train_accuracy, naming.held_out_accuracy),
        ("loss", naming.train_loss, naming.held_out_loss),
    )
    return [(quantity, train, held_out) for quantity, train, held_out in named if train and held_out]


def check_pairs(naming: Naming) -> None:
    """Raise `RequestError` where only one side of a gap was named."""
    for middle, train, held_out in (
        ("", naming.train_accuracy, naming.held_out_accuracy),
        ("-loss", naming.train_loss, naming.held_out_loss),
    ):
        if (train is None) != (held_out is None):
            given, other = ("train", "held-out") if train else ("held-out", "train")
            raise RequestError(
                f"--{given}{middle}-metric {train or held_out}: a gap is between two metrics. Name the other with "
                f"--{other}{middle}-metric."
            )


def check_named(runs: Sequence[RunRecord], naming: Naming) -> None:
    """Raise `RequestError` for a metric that no run has, or two that no run has together."""
    there = {name for run in runs for name in run.metrics}
    for _, train, held_out in pairs(naming):
        for name in (train, held_out):
            if name not in there:
                raise RequestError(
                    f"No run here has the metric '{name}'.{suggestion(name, there)} "
                    f"They have {shortened(sorted(there), NAMED) or 'none'}."
                )
        if not any(train in run.metrics and held_out in run.metrics for run in runs):
            raise RequestError(f"No run here has both {train} and {held_out}: a gap is between two metrics of one run.")


def running(runs: Sequence[RunRecord], chosen: Mapping[str, Names]) -> str:
    """A note about training metrics that are running averages over an epoch, and what that means; empty if none are."""
    used: dict[str, int] = {}
    for run in runs:
        for key, name in chosen.get(run.run_id, {}).items():
            if key.startswith(TRAIN) and _is_running(run, name):
                used[name] = used.get(name, 0) + 1
    if not used:
        return ""
    share = "" if max(used.values()) == len(runs) else f" (in {max(used.values()):,} of {len(runs):,} runs)"
    steps = [name for name in used if name.lower().startswith("train") and not name.endswith(_EPOCH)]
    by_step = f"; if logged by step, {' and '.join(steps)} may be of the last batch only" if steps else ""
    return (
        f"{' and '.join(used)}{share}: running averages over the last epoch, while the weights moved and dropout was "
        f"on, so that gaps come out smaller than with the weights at its end{by_step}."
    )


def unknown(runs: Sequence[RunRecord], chosen: Mapping[str, Names]) -> list[str]:
    """The training metrics of which it is not known how they were measured."""
    used = {
        name: None
        for run in runs
        if OWN_TAG not in run.tags
        for key, name in chosen.get(run.run_id, {}).items()
        if key.startswith(TRAIN) and not _is_running(run, name) and not _is_clean(run, name)
    }
    return list(used)


def _is_clean(run: RunRecord, name: str) -> bool:
    """Whether the harness's callback measured a training metric, with the weights at the end of the epoch."""
    return GAP_TAG in run.tags and name.startswith("train/")


def _is_running(run: RunRecord, name: str) -> bool:
    """Whether a training metric is a running average: the harness and its callback evaluate training images again
    (`train/*`); other programs log the averages of training itself."""
    if OWN_TAG in run.tags:
        return name.startswith(("fit/", "final/fit_"))
    if _is_clean(run, name):
        return False
    lower = name.lower()
    return lower.startswith(_PREFIXES[TRAIN]) or any(lower in names for names in QUANTITIES.values())

"""Finds which runs saw the same images: by recorded digests, otherwise by the settings that decide the images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from harness.records import DIGEST_PARAMETERS, VARIANT_PARAMETER, RunRecord, RunState

DATASET = "dataset.name"
VALIDATION = ("regime.validation.strategy", "regime.validation.size", "regime.validation.seed")
DECIDING: Mapping[str, tuple[str, ...]] = {
    "train": (DATASET, "dataset.train_size", "dataset.label_noise", "dataset.seed", *VALIDATION),
    "val": (DATASET, *VALIDATION),
    "test": (DATASET, "dataset.test_size"),
}
"""The settings that decide which images and labels of a dataset's files each split has."""

DATASET_TAG = "harness.dataset_digest"
"""The tag with the digest of the files that a run's dataset was read from (`Dataset.digest`)."""
_DIRECTORY = "dataset.directory"
_UNSAID = (None, "None", "0.0")
"""Values that mean the same as a missing setting: runs of the first version had no `dataset.label_noise`."""


class Images(NamedTuple):
    """Identifies the images of a run's splits: equal texts mean the same images.

    Each is a digest or, if none was recorded, the settings that decide the images, as text. `val` is "None" for a run
    without a validation split.
    """

    train: str
    val: str
    test: str

    def of(self, split: str) -> str:
        """The text of `train`, `val` or `test`."""
        return self[self._fields.index(split)]


def images_of(runs: Sequence[RunRecord]) -> list[Images]:
    """The images of each run.

    A run without recorded digests gets those of a run with digests if both have equal settings in `DECIDING` and the
    same files (equal digest of the files, or the same folder). External runs count as trained on the same images, and
    as evaluated on the same images unless they name different datasets, because nothing else is known about them.
    """
    known: dict[tuple[str, ...], str] = {}
    if any(_unknown(run) for run in runs):
        for run in runs:
            for split, parameter in DIGEST_PARAMETERS.items():
                digest = run.parameters.get(parameter, "")
                for key in _keys(run, split) if digest else ():
                    known[key] = digest if known.get(key, digest) == digest else ""  # two digests fit: use neither
    return [_images(run, known) for run in runs]


def without_draws(runs: Sequence[RunRecord], images: Sequence[Images], draws: Sequence[str]) -> list[Images]:
    """The images of each run, equal for replicates that differ only in the settings `draws`.

    A split that depends on one of `draws` is identified by its files and its other settings, instead of its digest.
    """
    if not draws:
        return list(images)
    words = files_in_words(runs)
    drawn = {split for split, keys in DECIDING.items() if not set(draws).isdisjoint(keys)}

    def source(run: RunRecord, split: str) -> str:
        others = [f"{key}={run.parameters.get(key)}" for key in DECIDING[split] if key not in draws]
        return " ".join([words.get(run.run_id, ""), *others])

    return [
        Images(*(source(run, split) if split in drawn and seen.of(split) != "None" else seen.of(split)
                 for split in DECIDING))
        for run, seen in zip(runs, images, strict=True)
    ]  # fmt: skip


def unrecorded(runs: Iterable[RunRecord]) -> int:
    """How many finished runs of the harness recorded no digests of their images."""
    return sum(run.state is RunState.FINISHED and _unknown(run) for run in runs)


def files_in_words(runs: Iterable[RunRecord]) -> dict[str, str]:
    """The files that each run's dataset was read from, by run id: `published` or `variant 1a2b3c4d`.

    Runs of earlier versions did not record it: they get the word of a run with the same files, or `files 1a2b3c4d`.
    Runs that recorded nothing about their files are left out.
    """
    every = list(runs)
    words = {
        run.tags[DATASET_TAG]: run.parameters[VARIANT_PARAMETER]
        for run in every
        if DATASET_TAG in run.tags and VARIANT_PARAMETER in run.parameters
    }
    found = {}
    for run in every:
        files = run.tags.get(DATASET_TAG, "")
        word = run.parameters.get(VARIANT_PARAMETER) or words.get(files) or (f"files {files[:8]}" if files else "")
        if word:
            found[run.run_id] = word
    return found


def _images(run: RunRecord, known: Mapping[tuple[str, ...], str]) -> Images:
    if not run.is_own:
        name = run.parameters.get(DATASET, "")
        return Images("", name, name)
    return Images(*(run.parameters.get(parameter) or _guess(run, split, known)
                    for split, parameter in DIGEST_PARAMETERS.items()))  # fmt: skip


def _guess(run: RunRecord, split: str, known: Mapping[tuple[str, ...], str]) -> str:
    if split == "val" and run.parameters.get(VALIDATION[0]) == "none":
        return "None"
    key = _keys(run, split)[0]
    return known.get(key) or " ".join(key[1:])


def _unknown(run: RunRecord) -> bool:
    return run.is_own and not all(run.parameters.get(parameter) for parameter in DIGEST_PARAMETERS.values())


def _keys(run: RunRecord, split: str) -> list[tuple[str, ...]]:
    """What decides a split: its settings with the digest of the files (if known), and its settings with the folder."""
    settings = [f"{key}={value}" for key in DECIDING[split] if (value := run.parameters.get(key)) not in _UNSAID]
    files = [f"files={run.tags[DATASET_TAG]}"] if DATASET_TAG in run.tags else []
    return [(split, *settings, source) for source in (*files, f"folder={run.parameters.get(_DIRECTORY)}")]

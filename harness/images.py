"""Whether runs saw the same images: by the digests that they recorded, else by the settings that decide the images."""

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
"""The settings that decide which images of a dataset's files, with which labels, each split has."""

DATASET_TAG = "harness.dataset_digest"
"""On a run of the harness: the digest of the files that its dataset was read from (`Dataset.digest`)."""
_DIRECTORY = "dataset.directory"
_UNSAID = (None, "None", "0.0")
"""Values that are the same as none: runs of the first version had no `dataset.label_noise`."""


class Images(NamedTuple):
    """What tells the images of a run's splits apart from those of other runs: a digest of each; where none was
    recorded, the settings that decide it, as text. `val` is "None" for a run without a validation split."""

    train: str
    val: str
    test: str

    def of(self, split: str) -> str:
        """That of `train`, `val` or `test`."""
        return self[self._fields.index(split)]


def images_of(runs: Sequence[RunRecord]) -> list[Images]:
    """For each run its images, the same text for the same ones.

    A run that recorded no digests is taken to have the images of a run that did, if the settings that decide them are
    equal, and the files (their digest, or where they lay). External runs, of which nothing is known, count as trained
    on the same images, and evaluated on the same if they name no other dataset.
    """
    known: dict[tuple[str, ...], str] = {}
    if any(_unknown(run) for run in runs):
        for run in runs:
            for split, parameter in DIGEST_PARAMETERS.items():
                digest = run.parameters.get(parameter, "")
                for key in _keys(run, split) if digest else ():
                    known[key] = digest if known.get(key, digest) == digest else ""  # of several that fit, none
    return [_images(run, known) for run in runs]


def without_draws(runs: Sequence[RunRecord], images: Sequence[Images], draws: Sequence[str]) -> list[Images]:
    """For each run the images that it and its replicates were drawn from: a split that one of the settings `draws`
    decides is told by its files and its other settings, in the place of its digest."""
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
    """From which files each run's dataset was read, by run id: `published`, `variant 1a2b3c4d`; of runs of earlier
    versions `files 1a2b3c4d` where no other run has a word for these. Runs that do not tell are left out."""
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
    """What decides a split: its settings with the digest of the files, where that is known, and with their folder."""
    settings = [f"{key}={value}" for key in DECIDING[split] if (value := run.parameters.get(key)) not in _UNSAID]
    files = [f"files={run.tags[DATASET_TAG]}"] if DATASET_TAG in run.tags else []
    return [(split, *settings, source) for source in (*files, f"folder={run.parameters.get(_DIRECTORY)}")]

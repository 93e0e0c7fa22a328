"""A run's predictions for each held-out image, logged as one small artifact.

The file is NumPy's NPZ with the arrays `SPLIT_labels`, `SPLIT_predicted` (uint8) and `SPLIT_losses` (float16) of the
splits `val` (if there is one) and `test`: about 3 bytes per image.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.errors import RequestError, StoreError
from harness.records import Predictions, RunRecord, RunState
from harness.tracking.models import downloaded
from harness.tracking.selection import PREDICTIONS_TAG
from harness.tracking.store import Store
from harness.untrusted import open_arrays

FILE = "predictions.npz"
_ARRAYS = ("labels", "predicted", "losses")
_DOWNLOADS = 8  # at once, from a store that is not on this machine


def write_predictions(file: Path, predictions: Mapping[str, Predictions]) -> None:
    """Write the predictions of each split to `file`."""
    arrays = {f"{split}_{name}": getattr(of, name) for split, of in predictions.items() for name in _ARRAYS}
    np.savez_compressed(file, **arrays)


def read_predictions(
    store: Store, runs: Iterable[RunRecord], skip: Callable[[StoreError], None] | None = None
) -> dict[str, dict[str, Predictions]]:
    """The predictions of those finished runs that logged them, by run id and split.

    A run whose file is missing or cannot be read is left out, and `skip` is called with the error.

    Raises:
        StoreError: a file cannot be read, and there is no `skip`.
    """
    keeping = [run for run in runs if run.state is RunState.FINISHED and PREDICTIONS_TAG in run.tags]
    found = {}
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        reading = [(run.run_id, pool.submit(_read, store, run)) for run in keeping]
        for run_id, read in reading:
            try:
                found[run_id] = read.result()
            except StoreError as error:
                if skip is None:
                    raise
                skip(error)
    return found


def readable_predictions(
    store: Store, runs: Iterable[RunRecord], say: Callable[[str], None]
) -> dict[str, dict[str, Predictions]]:
    """As `read_predictions`, without the runs whose file cannot be read; `say` prints one line about them."""
    errors: list[StoreError] = []
    found = read_predictions(store, runs, errors.append)
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        say(f"Intervals over images of their rows rest on the formula p (1 - p) / N: {errors[0]}{more}")
    return found


def _read(store: Store, run: RunRecord) -> dict[str, Predictions]:
    try:
        with (
            downloaded(store, f"{run.artifacts}/{run.tags[PREDICTIONS_TAG]}", is_file=True) as file,
            open_arrays(file) as arrays,
        ):
            splits = dict.fromkeys(name.partition("_")[0] for name in arrays.files)
            return {split: Predictions(*(arrays[f"{split}_{name}"] for name in _ARRAYS)) for split in splits}
    except (RequestError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"The predictions of the run {run.name} ({run.run_id}) cannot be read: {error}. Was {FILE} removed from "
            "its artifacts? Without images: --interval seeds."
        ) from error

"""`harness export`: writes the model of a run as files for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from harness import paths
from harness.commands.store_option import import_option, store_option
from harness.config.schema import Config
from harness.errors import HarnessError, RequestError
from harness.models import FORMATS, KERAS_FILE, check_classifier
from harness.records import WHITE, RunRecord
from harness.run.load import is_custom, load_saved, read_class_names, read_config, recorded_dtype, recorded_shape
from harness.tracking.models import find_trained, model_folder
from harness.tracking.store import Store
from harness.training import import_tensorflow

ABOUT_FILE = "about.json"
WRITTEN = frozenset({ABOUT_FILE}).union(*(each.files for each in FORMATS.values()))
"""What exports consist of: `--overwrite` replaces a folder of nothing else."""


@click.command(name="export")
@click.argument("run")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="keras", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export in DIR.")
@import_option
@store_option
def command(run: str, directory: Path, form: str, overwrite: bool, store: Store) -> None:
    """Write the model of RUN into the folder DIR, completely or not at all.

    RUN is a run's id, the beginning of it, or its name; latest; best; or a registered model (NAME, NAME/3, NAME@alias).
    The model takes raw images, uint8 from 0 to 255, and returns the probability of each class. about.json beside it
    says their shape, where the model comes from and how to load it.

    keras is DIR/model.keras. saved_model makes DIR a TensorFlow SavedModel; for TensorFlow Serving the folder's name
    must be a number, the version: models/fashion/1.
    """
    target = directory.resolve()
    _refuse_what_is_in_the_way(target, overwrite)
    record = find_trained(store, run)
    config = read_config(store, record)
    chosen = FORMATS[form]
    with model_folder(store, record) as logged, _new_folder(target) as folder:
        if chosen.needs_tensorflow:
            import_tensorflow()
        about = _about(record, config, read_class_names(logged, config), form)
        chosen.write(logged / KERAS_FILE, folder, lambda file: _checked(file, record, config))
        paths.write_text(folder / ABOUT_FILE, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
    click.echo(f"Wrote {target}: {record.name} ({record.run_id}) as {form}")
    click.echo(f"use it: {chosen.use.format(folder=target)}")
    if is_custom(config) and form == "keras":
        module = str(config.model.builder).partition(":")[0]
        click.echo(
            f"If Keras cannot locate a class: import {module} first, where it is registered as serializable, else pass "
            "it in custom_objects."
        )


def _checked(file: Path, record: RunRecord, config: Config) -> Any:
    model = load_saved(file, record, config)
    check_classifier(model, custom=is_custom(config))
    return model


def _refuse_what_is_in_the_way(target: Path, overwrite: bool) -> None:
    if not target.is_dir():
        if target.exists():
            raise RequestError(f"{target} is a file. Name a folder that is new or empty.")
        return
    present = {item.name for item in target.iterdir()}
    if present and not overwrite:
        raise RequestError(
            f"{target} is not empty. Name another folder, or replace an earlier export with --overwrite."
        )
    if strange := sorted(present - WRITTEN):
        raise RequestError(f"{target} holds {strange[0]}, which is of no export. Name a folder that is new or empty.")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    made = False
    try:
        with paths.whole_folder(target) as folder:
            made = True
            yield folder
    except OSError as error:
        raise (HarnessError if made else RequestError)(
            f"{target} cannot be written ({error.strerror or error}). Name another folder."
        ) from error


def _about(record: RunRecord, config: Config, class_names: Sequence[str], form: str) -> Mapping[str, Any]:
    """What whoever gets the files must know: class names in the order of the probabilities, and the scores."""
    shape, classes = recorded_shape(record, config)
    dtype = recorded_dtype(record)
    span = {"range": [0, WHITE]} if dtype == "uint8" else {}
    return {
        "run": {"id": record.run_id, "name": record.name, "experiment": record.experiment},
        "dataset": config.dataset.name,
        "classes": class_names,
        "input": {"name": "pixels", "shape": [None, *shape], "dtype": dtype, **span},
        "output": {"name": "probabilities", "shape": [None, classes], "dtype": "float32"},
        "metrics": {key: value for key, value in sorted(record.metrics.items()) if key.startswith("final/")},
        "made_with": {name: record.tags.get(f"harness.{name}") for name in ("version", "keras", "tensorflow")},
        "use": FORMATS[form].use.format(folder="."),
    }

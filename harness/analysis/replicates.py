"""What was varied to repeat, not to compare: seeds, and draws of the data.

Another `dataset.seed` draws other training images (or other wrong labels), another `regime.validation.seed` other
images to hold out. Runs that differ in these are replicates of one configuration, like runs of other seeds. What is
repeated then is the draw: seeds of one draw share its images, and their mean is one value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.analysis.rows import Unit
from harness.analysis.settings import ABSENT, SEED, settings_of, sortable
from harness.errors import RequestError, suggestion
from harness.images import Images
from harness.records import RunRecord

DRAWS: Mapping[str, str] = {"dataset.seed": "dataset.seed", "regime.validation.seed": "validation.seed"}
"""The settings that draw data, with their short names."""


def named_replicates(text: str) -> tuple[str, ...]:
    """The draws among what was named as replicates: `seed,dataset.seed`.

    Raises:
        RequestError: something else is named, or `seed` is not.
    """
    known = {SEED: SEED, **DRAWS, **{short: key for key, short in DRAWS.items()}}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise RequestError(
                f"--replicates {text}: '{name}' cannot be a replicate.{suggestion(name, known)} "
                f"Choose from {SEED}, {', '.join(DRAWS.values())}."
            )
    if SEED not in names:
        raise RequestError(f"--replicates {text}: runs of other seeds are replicates always. Give {SEED},{text}.")
    return tuple(key for key in DRAWS if key in {known[name] for name in names})


def repeated_draws(runs: Sequence[RunRecord], keys: Sequence[str]) -> tuple[str, ...]:
    """The settings of `DRAWS` that have several values within a configuration (`keys` are all settings)."""
    others = [key for key in keys if key not in DRAWS]
    found = []
    for draw in DRAWS:
        values: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for run in runs if draw in keys else ():
            values[settings_of(run.parameters, others)].add(run.parameters.get(draw, ABSENT))
        if any(len(of) > 1 for of in values.values()):
            found.append(draw)
    return tuple(found)


def units_of(
    groups: Sequence[Sequence[RunRecord]], draws: Sequence[str], images: Mapping[str, Images]
) -> tuple[dict[str, Unit], bool]:
    """The replicate that each run of each configuration is, by run id, and whether draws are what is repeated.

    Draws that have the same images are one: a `dataset.seed` without effect makes copies, which count once. A run that
    records no seed is a replicate of its own.
    """
    units, several = {}, False
    for members in groups:
        ordered = sorted(members, key=lambda run: [sortable(run.parameters.get(key, ABSENT)) for key in draws])
        first: dict[Images, str] = {}
        for run in ordered:
            text = " ".join(f"{DRAWS[key]}={run.parameters.get(key, ABSENT)}" for key in draws)
            draw = first.setdefault(images[run.run_id], text)
            units[run.run_id] = Unit(draw, run.parameters.get(SEED) or f"of {run.run_id}")
        several = several or len(set(first.values())) > 1
    return (units, True) if several else ({run: Unit("", unit.seed) for run, unit in units.items()}, False)

"""(6) What regularises or augments, each in both engines: `engine=auto` must not choose the slower one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.guides import quick_overrides
from benchmarks.rounds import Contender
from benchmarks.surroundings import Places

IMAGES = 5_000
FEW_IMAGES = 500
"""For convolutions, which take 25 times as long."""

DENSE = ("model=mlp_300_100",)
DEEP = ("model=mlp", "model.hidden=[64,64,64,64,64,64,64,64]")
CNN = ("model=cnn",)
SETTINGS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (DENSE, ()),
    (DENSE, ("model.dropout=0.2",)),
    (DENSE, ("model.l2=0.001",)),
    (DENSE, ("model.batch_norm=true",)),
    (DENSE, ("model.shift=2",)),
    (DENSE, ("model.dropout=0.2", "model.shift=2")),
    (DENSE, ("regime.label_smoothing=0.1",)),
    (DENSE, ("regime.labels=one_hot",)),
    (DENSE, ("regime.schedule.name=cosine",)),
    (DENSE, ("regime.batch_size=512",)),
    (DENSE, ("optimizer=adamw",)),
    (DENSE, ("optimizer.weight_decay=0.01",)),
    (DENSE, ("optimizer.clipnorm=1",)),
    (DENSE, ("optimizer.global_clipnorm=1",)),
    (DENSE, ("optimizer.clipvalue=1",)),
    (DENSE, ("optimizer.use_ema=true",)),
    (DENSE, ("optimizer.gradient_accumulation_steps=4",)),
    (DENSE, ("mixed_precision=float16",)),
    (DENSE, ("mixed_precision=bfloat16",)),
    (DEEP, ()),
    (DEEP, ("model.dropout=0.2",)),
    (CNN, ()),
    (CNN, ("model.dropout=0.2",)),
    (CNN, ("model.batch_norm=true",)),
    (CNN, ("model.shift=2",)),
)
"""The model, and what is set for it; of each model the first has nothing set."""


def measure(places: Places, quick: bool) -> None:
    """Measure every setting; with `quick` some, on the bundled images."""
    from harness.composing import compose_config
    from harness.training import choose_engine

    settings = SETTINGS[:2] if quick else SETTINGS
    overrides = []
    for model, setting in settings:
        size = [] if quick else [f"dataset.train_size={FEW_IMAGES if model == CNN else IMAGES}"]
        overrides.append([*model, *setting, *size, *quick_overrides(quick)])
    contender = Contender(Path(sys.executable), "engines", json.dumps(overrides))
    rows: list[dict[str, Any]] = []
    try:
        for (model, setting), words in zip(settings, overrides, strict=True):
            seconds = contender.go()[0]
            chosen, _ = choose_engine(compose_config(words))
            rows.append({"model": " ".join(model), "setting": " ".join(setting), "seconds": seconds, "auto": chosen})
            print(f"{' '.join((*model, *setting))}: {seconds}", flush=True)
            places.write("engines", quick, {"images": IMAGES, "few_images": FEW_IMAGES, "rows": rows})
    finally:
        contender.close()

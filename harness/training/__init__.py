"""Engines that train a Keras model, all with one signature."""

from harness.training.engines import choose_engine, fit, load_callbacks
from harness.training.events import TrainingObserver
from harness.training.seeding import seed_everything
from harness.training.startup import import_tensorflow, intra_op_threads, process_settings_restored
from harness.training.state import TrainingState, capture, weight_shapes, weights_of, write_state

__all__ = [
    "TrainingObserver",
    "TrainingState",
    "capture",
    "choose_engine",
    "fit",
    "import_tensorflow",
    "intra_op_threads",
    "load_callbacks",
    "process_settings_restored",
    "seed_everything",
    "weight_shapes",
    "weights_of",
    "write_state",
]

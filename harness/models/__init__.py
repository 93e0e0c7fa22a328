"""Keras models that take raw uint8 images: preprocessing is part of the model."""

from harness.models.building import build_model
from harness.models.complexity import measure_model
from harness.models.custom import custom_objects, own_parts
from harness.models.exporting import FORMATS, ExportFormat
from harness.models.prediction import log_probabilities, probability_model
from harness.models.preprocessing import float64_scale, pixel_scale
from harness.models.saved import KERAS_FILE, check_classifier, load_model

__all__ = [
    "FORMATS",
    "KERAS_FILE",
    "ExportFormat",
    "build_model",
    "check_classifier",
    "custom_objects",
    "float64_scale",
    "load_model",
    "log_probabilities",
    "measure_model",
    "own_parts",
    "pixel_scale",
    "probability_model",
]

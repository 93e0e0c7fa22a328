"""`mlflow server` in one process, instead of one that starts another. A program for forks (tests/forking.py)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.server
from mlflow.cli import cli
from uvicorn.main import main


def become(command: Sequence[str], extra_env: Mapping[str, str], **options: Any) -> None:
    """Run uvicorn here, with the arguments and variables that MLflow's command has composed; it does not return."""
    os.environ.update(extra_env)
    main(command[command.index("uvicorn") + 1 :])


if __name__ == "__main__":
    mlflow.server._exec_cmd = become
    cli()

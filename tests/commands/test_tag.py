"""`harness tag` on real stores."""

from __future__ import annotations

import pytest

from harness.cli import main
from tests.commands.conftest import Filled


def test_tags_are_set_changed_and_removed(filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = filled.run("a run")
    assert main(["tag", "a run", "paper=figure = 3", "draft=1", "empty="]) == 0
    assert main(["tag", run_id[:8], "draft=2", "--remove", "paper"]) == 0
    tags = filled.client.get_run(run_id).data.tags
    assert (tags["draft"], tags["empty"], tags.get("paper")) == ("2", "", None)
    capsys.readouterr()
    assert main(["tag", "a run"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"a run ({run_id[:8]})", "  draft=2", "  empty="]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ok=1", "harness.fingerprint=1"), "not yours to change"),
        (("ok=1", "--remove", "mlflow.parentRunId"), "not yours to change"),
        (("ok=1", "no mark"), "Write KEY=VALUE"),
        (("ok=1", "=value"), "Write KEY=VALUE"),
        (("ok=1", "--remove", "absent"), "has no tag absent"),
        (("ok=1", "--remove", "ok"), "to be set and to be removed"),
        (("ok=1", "a?b=1"), "MLflow does not take"),
        (("ok=1", f"long={'x' * 5001}"), "A tag holds 5000"),
    ],
)
def test_what_cannot_be_is_refused_whole(
    filled: Filled, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    run_id = filled.run("a run")
    before = filled.client.get_run(run_id).data.tags
    assert main(["tag", "a run", *words]) == 2
    assert message in capsys.readouterr().err
    assert filled.client.get_run(run_id).data.tags == before

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from harness import cli
from harness.errors import HarnessError, RequestError
from tests.conftest import RunCommand

HEAVY = ("tensorflow", "keras", "mlflow", "hydra", "omegaconf", "matplotlib", "numpy", "scipy", "rich")

Register = Callable[[Callable[[], object]], None]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Make `harness probe` run a function."""

    def register(function: Callable[[], object]) -> None:
        module = types.ModuleType("tests.probe")
        module.command = click.Command("probe", callback=function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tests.probe", module)
        monkeypatch.setattr(cli, "COMMANDS", {**cli.COMMANDS, "probe": ("tests.probe", "For the tests.")})

    return register


def raising(error: BaseException) -> Callable[[], object]:
    def function() -> None:
        raise error

    return function


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.cli import main; assert main(['--help']) == 0; "
        f"loaded = [name for name in {HEAVY} if name in sys.modules]; assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, (_, line) in cli.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert line in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_imports_no_tensorflow(name: str) -> None:
    code = (
        "import sys, click; from harness.cli import group; "
        f"command = group.get_command(click.Context(group), {name!r}); "
        f"assert command.name == {name!r}, command.name; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert cli.main(["--version"]) == 0
    assert version("overfitting-harness") in capsys.readouterr().out


def test_python_m_harness_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("harness, version")


def test_a_misspelt_command_is_refused_with_the_near_miss(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    message = capsys.readouterr().err
    assert "'trian'" in message
    assert "Did you mean 'train'?" in message


def test_a_wrong_option_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ui", "--prot", "1"]) == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(HarnessError("no luck"), 1), (RequestError("no luck"), 2)])
def test_an_expected_error_is_one_message_and_its_own_exit_code(
    probe: Register, capsys: pytest.CaptureFixture[str], error: HarnessError, code: int
) -> None:
    probe(raising(error))
    assert cli.main(["probe"]) == code
    captured = capsys.readouterr()
    assert captured.err == "error: no luck\n"
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["--debug", "probe"], ["probe", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    probe: Register, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # `main` sets it; this restores it afterwards
    probe(raising(HarnessError("no luck")))
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err
    assert "Traceback" in message
    assert message.endswith("error: no luck\n")


def test_a_bug_is_not_caught(probe: Register) -> None:
    probe(raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_the_exit_code_is_what_the_command_returns(probe: Register) -> None:
    probe(lambda: 1)
    assert cli.main(["probe"]) == 1
    probe(lambda: None)
    assert cli.main(["probe"]) == 0


def test_ctrl_c_exits_with_130(probe: Register) -> None:
    probe(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert cli.main(["probe"]) == 130


def test_sigterm_unwinds_the_stack_and_exits_with_143(probe: Register) -> None:
    unwound = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            unwound.append(True)

    before = signal.getsignal(signal.SIGTERM)
    probe(work)
    assert cli.main(["probe"]) == 143
    assert unwound
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_stops_reading_is_no_error(executable: str) -> None:
    with subprocess.Popen([executable, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_output_that_could_not_be_written_is_an_error_in_one_line(executable: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run([executable, "data", "list"], stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: The output could not be written: No space left on device.\n"


def test_tensorflow_is_told_to_be_quiet_unless_the_user_says_otherwise(
    probe: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    level: list[str | None] = []
    probe(lambda: level.append(os.environ.get("TF_CPP_MIN_LOG_LEVEL")))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    cli.main(["probe"])
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    cli.main(["probe"])
    monkeypatch.undo()
    assert level == ["0", "2"]


DATASETS = ("fashion_mnist", "idx", "image_folder", "mnist", "npz", "python")
COMPLETE = """
eval "$(harness -sc install=bash)"
COMP_WORDS=($COMP_LINE)
[[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_POINT=${#COMP_LINE}
hydra_bash_completion
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("harness tr", {"train"}),
        ("harness ", set(cli.COMMANDS)),
        ("harness train model=mlp_128", {"model=mlp_128", "model=mlp_128_128"}),
        ("harness train optimizer=sgd optimizer.nest", {"optimizer.nesterov="}),
        ("harness train -m --debug dataset=", {f"dataset={name}" for name in DATASETS}),
        ("harness sweep --plan dataset=m", {"dataset=mnist"}),
        ("harness ui --po", {"--port"}),
        ("harness data fe", {"fetch"}),
    ],
)
def test_bash_completes_commands_overrides_and_options(
    project: Path, executable: str, line: str, expected: set[str]
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    path = f"{Path(executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", COMPLETE],
        env={**os.environ, "PATH": path, "COMP_LINE": line},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


@pytest.mark.slow
def test_fish_gets_one_choice_a_line(run_command: RunCommand) -> None:
    done = run_command("-sc", "query=fish", env={"COMP_LINE": "harness train dataset="})
    assert done.stdout.splitlines() == [f"dataset={name}" for name in DATASETS]


@pytest.mark.slow
def test_a_line_that_cannot_be_completed_is_answered_with_silence(run_command: RunCommand) -> None:
    done = run_command("-sc", "query=bash", env={"COMP_LINE": "harness train model=nonsense ="})
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_debugging_ends_with_the_command_that_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_DEBUG", raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert cli.main(["train", "optimizer=none_such", "--debug"]) == 2
    assert "HARNESS_DEBUG" not in os.environ
    assert os.environ["HYDRA_FULL_ERROR"] == "0"

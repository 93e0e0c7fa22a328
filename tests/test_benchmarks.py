from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import surroundings
from benchmarks.__main__ import BENCHMARKS, main, render
from benchmarks.contenders.task import Task
from benchmarks.grid import PARTS
from benchmarks.guides import GUIDES, prepare, training_flop
from benchmarks.page import SECTIONS, page
from benchmarks.parts import TRAINING
from benchmarks.processes import CommandFailed
from benchmarks.rounds import Contender, Unavailable, take_turns
from benchmarks.search import epochs_until_close
from benchmarks.summaries import epoch_rows, goals, median_ratio, peak_rates
from benchmarks.surroundings import Others, Places, machine
from harness.config.search import Dimension
from tests.conftest import REPOSITORY


def contender(*seconds: float, **more: Any) -> dict[str, Any]:
    return {"setting": {}, "seconds": list(seconds), "accuracy": 0.9, **more}


def epochs() -> dict[str, Any]:
    """A guide of 30 GFLOP on a machine whose peak is 100 GFLOP/s, and half of that in the first round."""
    return {
        "rounds": 3,
        "copies": 2,
        "peak_size": 4096,
        "guides": {
            "A": {
                "title": "A guide, of one's own",
                "images": 60_000,
                "flop": 30e9,
                "flop_with_pass": 36e9,
                "peak_gflops": {"numpy": [50.0, 100.0, 100.0], "xla": [40.0, 80.0, 500.0]},
                "contenders": {
                    "fit": contender(4.0, 8.0, 6.0),
                    "fit_tuned": contender(2.0, 2.0, 2.0, setting={"steps_per_execution": 50, "jit_compile": True}),
                    "torch": {"absent": "ModuleNotFoundError: No module named 'torch'"},
                    "lightning": contender(2.0, 2.0, 3.0, setting={"lightning": "2.6", "threads": 1}),
                    "jax": contender(1.0, 1.2, 1.1),
                    "compiled": contender(0.5, 0.5, 0.6, whole_seconds=[0.6, 0.6, 0.7]),
                    "compiled_at_once": contender(0.4, 0.4, 0.5, whole_seconds=[0.45, 0.45, 0.5]),
                },
            }
        },
    }


def grid() -> dict[str, Any]:
    def turn(seconds: float, runs: int) -> dict[str, float]:
        return {
            "runs": runs,
            "measured_seconds": seconds,
            "seconds": seconds,
            "seconds_a_run": seconds / 24,
            "accuracy": 0.8,
        }

    return {"epochs": 5, "harness": [turn(30, 24), turn(34, 24)], "today": [turn(480, 6)]}


def scaling() -> dict[str, Any]:
    def sweep(runs: int, seconds: float, a_run: float) -> dict[str, float]:
        return {
            "runs": runs,
            "seconds": seconds,
            "start_up_seconds": 9,
            "seconds_a_run": a_run,
            "peak_mb": 1500,
            "end_mb": 1400,
        }

    return {"memory_kind": "PSS", "sweeps": [sweep(12, 20, 0.9), sweep(48, 38, 0.6), sweep(192, 110, 0.5)]}


def single() -> dict[str, Any]:
    return {
        "epochs": 10,
        "rounds": 3,
        "seconds": {"plain": [30.0, 31.0, 32.0], "harness": [15.0, 15.5, 33.0]},
        "first_seconds": {"plain": 40.0, "harness": 22.0},
        "test_accuracy": {"plain": 0.88, "harness": 0.881},
    }


def comparing() -> dict[str, Any]:
    seconds = {"table": [2.0, 3.0, 4.0], "effect": [2.0, 2.0, 2.0], "csv": [6.0, 6.0, 6.0]}
    return {"runs": 10_000, "epochs": 30, "megabytes": 1297.0, "seconds": seconds, "search_seconds": 30.0}


def planning() -> dict[str, Any]:
    def plans(*seconds: float) -> list[dict[str, float]]:
        return [{"seconds": each, "megabytes": 90.0} for each in seconds]

    return {"compose_seconds": [0.1, 0.1, 0.2], "plans": {"1000": plans(1, 2, 4), "10000": plans(8, 10, 12)}}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.below(tmp_path)


def line(text: str, label: str) -> list[str]:
    [found] = [row for row in text.splitlines() if row.startswith(f"| {label} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_the_table_of_an_epoch_has_medians_ratios_in_each_round_and_shares_of_the_peak(places: Places) -> None:
    places.write("epochs", False, epochs())
    text = page(places.read(), places)
    # fit / compiled in each round: 8, 16, 10. In the second round, 30 GFLOP in 0.5 s are 60 GFLOP/s, of a peak of 100.
    assert line(text, "**compiled engine**")[1:] == ["0.500", "0.500, 0.600", "10.0", "60%", "0.900"]
    # The clean pass is arithmetic too: 36 GFLOP in 0.6 s.
    assert line(text, "compiled engine with its clean pass")[1:] == ["0.600", "0.600, 0.700", "8.6", "60%", ""]
    assert line(text, "Keras `fit`")[1:4] == ["6.000", "4.000, 8.000", "1.0"]
    assert line(text, "PyTorch Lightning, a DataLoader, 1 thread")[1:4] == ["2.000", "2.000, 3.000", "2.0"]


def test_the_peak_is_the_library_that_is_mostly_fastest_and_no_single_lucky_round() -> None:
    assert peak_rates(epochs()["guides"]["A"]) == [50, 100, 100]


def test_a_contender_that_is_not_installed_or_did_not_learn_has_its_reason_for_a_row(places: Places) -> None:
    result = epochs()
    result["guides"]["A"]["contenders"]["jax"]["refused"] = "training accuracy 0.10, below 0.8"
    rows = {row.key: row for row in epoch_rows(result, "A")}
    assert "No module named 'torch'" in rows["torch"].missing
    assert "below 0.8" in rows["jax"].missing
    places.write("epochs", False, result)
    text = page(places.read(), places)
    assert "left out: training accuracy 0.10, below 0.8" in line(text, "JAX, one `lax.scan`")


def test_the_page_says_whether_each_goal_is_met() -> None:
    results = {"epochs": epochs(), "grid": grid(), "scaling": scaling(), "single": single()}
    verdicts = {goal.aim.split(" ")[0]: (goal.measured, goal.met) for goal in goals(results)}
    assert [goal.met for goal in goals(results)] == [True, True, True, True, True, True]
    assert verdicts["the"] == ("0.56 times (flat: up to 1.1)", True)

    results["epochs"]["guides"]["A"]["contenders"]["jax"]["seconds"] = [0.9, 0.9, 0.9]
    results["epochs"]["guides"]["A"]["contenders"]["compiled_at_once"]["seconds"] = [0.7, 0.7, 0.7]
    results["grid"]["today"][0]["seconds"] = 300
    results["single"]["seconds"]["harness"] = [15.0, 31.5, 33.0]
    results["scaling"]["sweeps"][2]["seconds_a_run"] = 1.0
    assert [goal.met for goal in goals(results)] == [True, False, False, False, False, False]


def test_the_page_shows_only_existing_measurements(places: Places) -> None:
    places.write("single", False, single())
    render(places)
    text = places.page.read_text()
    # 30 / 15, 31 / 15.5, 32 / 33
    assert line(text, "**`harness train`**")[1:] == ["15.5", "15.0, 33.0", "2.0", "22.0", "0.881"]
    assert [heading for heading in text.splitlines() if heading.startswith("## ")] == ["## Goals", "## A single run"]
    assert f"{machine()['cores']} cores" in text


def test_the_whole_page_is_rendered_with_a_picture_that_is_small(places: Places) -> None:
    for name, result in (("epochs", epochs()), ("grid", grid()), ("scaling", scaling()), ("single", single())):
        places.write(name, False, result)
    render(places)
    text = places.page.read_text()
    assert "](images/benchmarks.png)" in text
    assert 5_000 < places.picture.stat().st_size < 250_000
    assert line(text, "**`harness sweep`**")[1:5] == ["32.0", "30.0, 34.0", "1.33", "15.0"]
    assert "measured on 6 of the runs" in text
    assert [line(text, size)[4] for size in ("12", "48", "192")] == ["", "0.50", "0.50"]


def test_a_trial_measurement_is_marked(places: Places) -> None:
    places.write("single", True, single())
    assert "no measurement" in page(places.read(), places)


def test_a_measurement_beside_other_work_says_so(places: Places) -> None:
    quiet = {"quick": False, "date": "2026-01-01", "machine": machine() | {"cores": 2, "load_before": 0.1}}
    busy = quiet | {"machine": quiet["machine"] | {"load_before": 3.0}}
    assert "busy" not in page({"single": quiet | single()}, places)
    assert "**The machine was busy: load 3.0 before the start.**" in page({"single": busy | single()}, places)
    shared = busy | {"machine": busy["machine"] | {"others": 0.4}}
    assert "**The machine was busy: others used 40% of it meanwhile.**" in page({"single": shared | single()}, places)
    alone = busy | {"machine": busy["machine"] | {"others": 0.01}}
    assert "busy" not in page({"single": alone | single()}, places)


def test_what_children_compute_is_not_the_work_of_others() -> None:
    before, own = surroundings._own_seconds(), Others()
    spin = "import time\nwhile time.process_time() < 1: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert surroundings._own_seconds() - before > 0.9  # counted in ticks
    running = subprocess.Popen([sys.executable, "-c", f"{spin}\nprint(flush=True)\ninput()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert running.stdout is not None
    running.stdout.readline()
    assert surroundings._own_seconds() - before > 1.8
    running.communicate(b"\n")
    assert 0 <= own.share() <= 1


def test_a_ratio_is_taken_in_each_round() -> None:
    # A round in which the whole machine was three times slower changes nothing.
    assert median_ratio([2.0, 6.0, 2.0], [1.0, 3.0, 1.0]) == 2.0


def test_contenders_take_turns_and_change_their_order() -> None:
    asked: list[str] = []

    def turn(name: str) -> int:
        asked.append(name)
        return len(asked)

    answers = take_turns({"one": lambda: turn("one"), "other": lambda: turn("other")}, rounds=3, pause=0)
    assert asked == ["one", "other", "other", "one", "one", "other"]
    assert answers == {"one": [1, 4, 5], "other": [2, 3, 6]}


def test_an_image_costs_six_operations_a_weight_without_the_gradients_of_the_pixels() -> None:
    # 784-128-10: forward and weights' gradients touch both kernels, inputs' gradients the second only.
    assert training_flop(1, [128]) == 4 * (784 * 128 + 128 * 10) + 2 * 128 * 10


def test_a_weight_of_a_convolution_costs_its_operations_at_every_pixel() -> None:
    # 3 x 3 x 1 x 32 at 28 x 28 pixels, then 3 x 3 x 32 x 64 at 14 x 14, then 7 x 7 x 64 features.
    first, second, dense = 9 * 32 * 784, 9 * 32 * 64 * 196, 49 * 64 * 128 + 128 * 10
    assert training_flop(2, [128], [32, 64]) == 2 * (4 * first + 6 * (second + dense))


def test_every_guide_becomes_a_task_with_its_own_settings(tmp_path: Path) -> None:
    tasks = {guide.letter: prepare(guide, tmp_path, quick=True) for guide in GUIDES}
    assert [tasks[letter]["hidden"] for letter in "ABCDE"] == [[128], [128, 128], [128], [300, 100], [128]]
    assert [tasks[letter]["optimizer"] for letter in "ABCDE"] == ["adam", "sgd", "adam", "sgd", "adam"]
    assert [tasks[letter]["head"] for letter in "ABCDE"] == ["logits", "softmax", "logits", "softmax", "softmax"]
    assert [tasks[letter]["batch_size"] for letter in "ABCDE"] == [32, 32, 200, 32, 32]
    assert [letter for letter, task in tasks.items() if task["one_hot"]] == ["B"]
    assert [letter for letter, task in tasks.items() if task["standardize"]] == ["B"]
    assert tasks["D"]["images"] == 1800
    assert [letter for letter, task in tasks.items() if task["dropout"] == 0.2] == ["F"]
    assert [letter for letter, task in tasks.items() if task["batch_norm"]] == ["G"]
    assert [letter for letter, task in tasks.items() if task["shift"] == 2] == ["H"]
    assert [letter for letter, task in tasks.items() if task["filters"] == [32, 64]] == ["I"]


def test_a_task_scales_images_as_its_guide_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = {guide.letter: prepare(guide, tmp_path, quick=True) for guide in GUIDES[:2]}
    arrays = {}
    for letter, settings in prepared.items():
        file = tmp_path / f"{letter}.json"
        file.write_text(json.dumps(settings | {"epochs": 1}))
        monkeypatch.setattr(sys, "argv", ["contender", str(file)])
        arrays[letter] = Task.from_arguments().arrays()[0]
    assert (arrays["A"].min(), arrays["A"].max(), arrays["A"].shape) == (0, 1, (2000, 784))
    assert arrays["B"].mean() == pytest.approx(0, abs=1e-4)
    assert arrays["B"].std() == pytest.approx(1, abs=1e-4)


def test_the_usual_way_can_be_measured_on_parts_with_both_optimizers() -> None:
    assert all(runs == models * seeds * 2 for runs, (models, seeds) in PARTS.items())


def test_peers_of_the_grid_have_rows_and_one_that_is_missing_has_its_reason(places: Places) -> None:
    result = grid()
    result["optuna"] = [result["today"][0] | {"seconds": 240, "measured_seconds": 70, "seconds_a_run": 9.0}]
    result["ray"] = {"absent": 'ImportError: Run `pip install "ray[tune]"` to fix.'}
    places.write("grid", False, result)
    text = page(places.read(), places)
    assert line(text, "Optuna, `fit`, a run a trial")[1:5] == ["240.0", "240.0, 240.0", "9.00", "2.0"]
    assert "left out: ImportError" in line(text, "Ray Tune, `fit`, its MLflow callback")[1]
    assert "measured on 6 of the runs (480 s, 70 s)" in text
    assert "Optuna, a thread a core" not in text


def test_the_limits_stand_beside_what_they_limit(places: Places) -> None:
    limits = {"import_seconds": 3.96, "gflops": 150.4, "arithmetic_seconds": 1.634}
    places.write("single", False, single() | {"limits": limits})
    text = page(places.read(), places)
    assert "importing TensorFlow alone takes 4.0 s" in text
    assert "training it take 1.634 s at the peak of this machine (150 GFLOP/s" in text


def test_a_part_that_fails_is_named_with_its_command_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fails(places: Places, asked: object) -> None:
        raise CommandFailed("harness sweep\nended with exit code 1")

    measures = {"grid": fails, "single": lambda places, asked: places.write("single", True, single()), "parts": fails}
    monkeypatch.setattr("benchmarks.__main__.BENCHMARKS", measures)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "all", "--output", str(tmp_path)])
    assert main() == 1
    assert set(Places.below(tmp_path).read()) == {"single"}
    assert "## A single run" in Places.below(tmp_path).page.read_text()
    said = capsys.readouterr().err
    assert "error: grid: harness sweep" in said
    assert 'make bench ARGS="grid parts"' in said


def test_every_part_has_a_section_of_the_page() -> None:
    assert sorted(BENCHMARKS) == sorted(SECTIONS)


def test_committed_results_are_a_measurement_and_the_page_is_made_from_them() -> None:
    kept = Places.of_the_project()
    results = kept.read()
    assert results
    assert not any(result["quick"] for result in results.values())
    assert kept.page.read_text() == page(results, kept)


def test_comparing_many_runs_must_take_at_most_five_seconds(places: Places) -> None:
    places.write("comparing", False, comparing())
    text = page(places.read(), places)
    assert line(text, "**`harness compare`**")[1:] == ["3.0", "2.0, 4.0", "10.0"]
    assert [goal.met for goal in goals({"comparing": comparing()})] == [True]
    late = comparing()
    late["seconds"]["table"] = [5.0, 5.0, 5.0]
    assert [goal.met for goal in goals({"comparing": late})] == [False]


def test_claims_are_shown_by_the_number_of_jobs(places: Places) -> None:
    places.write("claims", False, {"seconds": {"10000": {"claim": 0.005, "look": 0.044}}})
    assert "| 10,000 | 5 | 44 |" in page(places.read(), places)


def test_a_search_over_recorded_curves_needs_fewer_epochs_where_hopeless_trials_stop(places: Places) -> None:
    """Of 100 configurations one is good from its first epoch on; what is bad stays bad."""
    space = {key: Dimension(choices=tuple(map(str, range(10)))) for key in ("rate", "width")}
    worth = {
        (one, two): 0.9 if one == two == 7 else 0.1 + (10 * one + two) / 1000 for one in range(10) for two in range(10)
    }
    curves = {(str(one), str(two)): [value] * 9 for (one, two), value in worth.items()}
    whole, stopped = (
        [epochs_until_close(space, curves, "random", seed, halving) for seed in range(8)] for halving in (False, True)
    )
    assert all(0 < some <= every for some, every in zip(stopped, whole, strict=True))
    assert 2 * sum(stopped) < sum(whole)
    until = {"random": whole, "TPE": whole, "TPE with halving": stopped}
    places.write("search", False, {"trials": 1000, "early": 0.005, "late": 0.0185, "configurations": 100,
                                   "epochs": 9, "until": until})  # fmt: skip
    text = page(places.read(), places)
    assert line(text, "random")[3] == "1.0"
    assert float(line(text, "TPE with halving")[3]) > 1
    assert "takes 5 ms of processor time after 100 trials, 18 ms after 1,000" in text


def test_planning_has_a_time_limit_and_is_compared_with_composing_by_hydra(places: Places) -> None:
    places.write("planning", False, planning())
    text = page(places.read(), places)
    assert line(text, "10,000")[1:] == ["10.0", "8.000, 12.0", "1.00", "100.0", "90"]
    assert [goal.met for goal in goals({"planning": planning()})] == [True, True]
    late = planning()
    late["plans"]["1000"] = [{"seconds": 1.0, "megabytes": 301.0}]
    late["plans"]["10000"] = [{"seconds": 15.0, "megabytes": 90.0}]
    assert [goal.met for goal in goals({"planning": late})] == [False, False]


def engines() -> dict[str, Any]:
    def row(setting: str, compiled: float, keras: float, model: str = "model=a") -> dict[str, Any]:
        seconds = {"compiled": compiled, "keras": keras}
        return {"model": model, "setting": setting, "seconds": seconds, "auto": "compiled"}

    rows = [row("", 0.1, 0.2), row("model.dropout=0.2", 0.12, 0.3), row("", 2.0, 2.1, "model=b")]
    return {"images": 5000, "few_images": 500, "rows": rows}


def test_a_setting_is_compared_between_engines_and_with_its_model_alone(places: Places) -> None:
    places.write("engines", False, engines())
    text = page(places.read(), places)
    assert line(text, "`model=a model.dropout=0.2`")[1:] == ["0.120", "0.300", "2.50", "compiled", "1.20"]
    assert line(text, "`model=b`")[3:] == ["1.05", "compiled", "1.00"]


def test_auto_must_not_take_the_slower_engine_and_dropout_must_be_cheap() -> None:
    assert [goal.met for goal in goals({"engines": engines()})] == [True, True]
    slow = engines()
    slow["rows"][1]["seconds"] = {"compiled": 0.14, "keras": 0.2}
    assert [goal.met for goal in goals({"engines": slow})] == [False, True]
    slow["rows"][2]["seconds"]["keras"] = 1.9
    assert [goal.met for goal in goals({"engines": slow})] == [False, False]
    slow["rows"][2]["auto"] = "keras"
    assert [goal.met for goal in goals({"engines": slow})] == [False, True]


def parts(**processor: float) -> dict[str, Any]:
    found = {name: {"seconds": 2 * each, "processor": each, "calls": 1} for name, each in processor.items()}
    training = {"seconds": 9.0, "processor": 9.0, "calls": 1}
    return {"rounds": 3, "settings": ["x=1"], "parts": {**found, TRAINING: training}}


def test_the_parts_of_a_run_are_added_up_without_training(places: Places) -> None:
    places.write("parts", False, parts(figures=0.1, evaluation=0.2))
    text = page(places.read(), places)
    assert line(text, "evaluation")[1:] == ["1", "0.400", "0.200"]
    assert line(text, "**together**")[2:] == ["**0.600**", "**0.300**"]
    assert [goal.met for goal in goals({"parts": parts(figures=0.1, evaluation=0.2)})] == [True]
    assert [goal.met for goal in goals({"parts": parts(figures=0.2, evaluation=0.2)})] == [False]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("benchmark", ["engines", "parts", "grid"])
def test_engines_parts_and_the_grid_are_really_measured(benchmark: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", benchmark, "--quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result = Places.below(tmp_path).read()[benchmark]
    if benchmark == "engines":
        assert all(0 < seconds < 60 for row in result["rows"] for seconds in row["seconds"].values())
    elif benchmark == "grid":
        contenders = [result[name][0] for name in ("harness", "today", "optuna", "optuna_at_once")]
        assert all(each["runs"] == 2 and each["accuracy"] > 0.3 for each in contenders)
        assert 0 < result["limits"]["import_seconds"] < min(each["seconds"] for each in contenders)
    else:
        assert {"writing to the store", "evaluation", "saving the model", TRAINING} <= result["parts"].keys()
    assert "no measurement" in Places.below(tmp_path).page.read_text()


@pytest.mark.slow
def test_a_contender_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = Contender(Path(sys.executable), "fit", str(tmp_path / "missing.json"))
    with pytest.raises(Unavailable, match=r"missing\.json"):
        broken.go()
    broken.close()


@pytest.mark.slow
@pytest.mark.long
def test_a_single_run_is_really_measured(project: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_ROOT"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "single", "--quick", "--output", str(tmp_path)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places = Places.below(tmp_path)
    result = places.read()["single"]
    assert set(result["seconds"]) == {"plain", "harness"}
    assert all(1 < seconds[0] < 200 for seconds in result["seconds"].values())
    assert all(accuracy > 0.5 for accuracy in result["test_accuracy"].values())
    assert "no measurement" in places.page.read_text()

from __future__ import annotations

import io
import json

from rich.console import Console

from harness.analysis.comparison import Comparison, compare
from harness.analysis.comparison_table import plain_table, print_table, render
from harness.analysis.ranking import Demand
from harness.records import RunState
from tests.analysis.records import data, run


def usual() -> Comparison:
    """The demonstration: three models, two optimizers, two seeds; one run failed."""
    runs = [
        run(
            0.9 + seed / 250, 0.86, 0.87, seed=seed, model__name=model, optimizer__name=optimizer,
            optimizer__learning_rate=0.01 if optimizer == "sgd" else 0.001, model__hidden=hidden,
            dataset__name="fashion_mnist", regime__epochs=5, regime__validation__strategy="stratified",
            state=RunState.FAILED if (model, optimizer, seed) == ("mlp_128", "sgd", 1) else RunState.FINISHED,
        )
        for model, hidden in (("mlp_128", [128]), ("mlp_128_128", [128, 128]), ("mlp_300_100", [300, 100]))
        for optimizer in ("sgd", "adam")
        for seed in range(2)
    ]  # fmt: skip
    return compare(runs, title="Sweep demo (experiment harness)")


def on_terminal(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        print_table(comparison, console)
    return captured.get()


def test_the_title_constants_and_what_follows_stand_above_the_table() -> None:
    lines = plain_table(usual()).splitlines()
    assert lines[0] == "Sweep demo (experiment harness): 12 runs, 6 configurations"
    assert lines[1] == "All: dataset fashion_mnist, epochs 5, validation stratified"
    assert lines[2] == "By optimizer: learning_rate 0.001 for adam; 0.01 for sgd"


def test_accuracies_are_percent_and_gaps_points_with_a_sign() -> None:
    comparison = compare([run(0.9, 0.871, seed=0), run(0.91, 0.871, seed=1), run(0.8, 0.81, seed=0, model__name="b")])
    text = plain_table(comparison)
    assert "90.5 ± 6.4" in text  # two runs: 12.7 / sqrt(2) times their deviation of 0.7
    assert "+3.4 ± 6.4" in text
    assert "+0.034 ± 0.064" in text
    assert "-1.0 " in text
    assert "gap test† ▲" in text


def test_rows_that_are_underfit_stand_below_a_line_and_are_called_so() -> None:
    runs = [run(0.9, 0.87, model__name="a"), run(0.85, 0.86, model__name="b"), run(0.5, 0.5, model__name="c")]
    lines = plain_table(compare(runs)).splitlines()
    (rule,) = [place for place, line in enumerate(lines) if line.startswith("┄")]
    assert lines[rule - 1].startswith("a ")
    assert lines[rule + 1].startswith("c ")
    assert lines[rule + 1].endswith("underfit?")  # of one seed there is no interval to be beyond
    assert "more than 2 points below the best, 87.0 %" in " ".join(lines)
    assert "underfit" in on_terminal(compare(runs), 100)
    asked = plain_table(compare(runs, demand=Demand(0.95, None)))
    assert "No row is accurate enough: test accuracy below the 95 % asked for." in asked


def test_what_was_selected_by_a_split_is_marked_in_heading_and_legend() -> None:
    text = plain_table(usual())
    assert "val %†" in text
    assert "test %†" in text  # ranked on validation, rows have their luck in the test figures too
    assert "† val figures make what was selected look too good: it ranks the rows" in text
    assert "†" not in plain_table(compare([run(seed=0), run(seed=1)]))


def test_an_incomplete_row_shows_how_many_and_a_line_says_which() -> None:
    runs = [run(model__name="a", seed=seed) for seed in range(3)] + [run(model__name="b", seed=0)]
    text = plain_table(compare(runs))
    assert "1/3  2 missing" in text
    assert "Incomplete, n is finished/expected: b (seeds 1, 2 missing)." in text


def test_the_front_says_of_how_many_it_is() -> None:
    runs = [run(0.9, 0.87, model__name="a"), run(0.95, 0.87, model__name="b")]
    assert "1 run, the Pareto front: 1 of 2 configurations" in plain_table(compare(runs, only_front=True))


def test_the_legend_says_that_positive_is_overfitting_and_where_the_ui_is() -> None:
    text = plain_table(usual())
    assert "Positive means overfitting" in text
    assert (
        "over the n seeds of a row: what another seed would change, not what other held-out images would"
        in " ".join(text.split())
    )
    assert "harness ui" in text


def test_unfinished_runs_are_named_in_their_row_and_below() -> None:
    text = plain_table(usual())
    (line,) = [line for line in text.splitlines() if line.startswith("mlp_128 ") and "sgd" in line]
    assert "1/2" in line
    assert "1 failed" in line
    assert "1 run did not finish" in text


def test_repeated_seeds_are_warned_of() -> None:
    assert "2 runs repeat" in plain_table(compare([run(), run()]))


def test_the_usual_table_fits_100_columns_on_a_terminal_with_every_setting_whole() -> None:
    text = on_terminal(usual(), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for word in ("mlp_128_128", "mlp_300_100", "optimizer", "gap val† ▲", "gap test"):
        assert word in text


def test_a_narrow_terminal_loses_lesser_columns_and_says_which() -> None:
    text = on_terminal(usual(), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "gap val† ▲" in text
    assert "loss gap  " not in text
    assert "Left out for want of room: gap_val_loss" in text.replace("\n", " ")


def test_a_long_setting_is_folded_not_cut() -> None:
    letters = "".join(chr(code) for code in range(ord("A"), ord("z")))
    text = on_terminal(compare([run(model__name=letters * 2), run(model__name="b")]), 80)
    table = text.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 80
    assert letters * 2 in "".join(line.split(" ")[0] for line in table.splitlines())


def test_an_empty_comparison_is_a_table_without_rows() -> None:
    assert "0 runs" in on_terminal(compare([]), 100)


def test_brackets_in_a_setting_are_no_markup() -> None:
    comparison = compare([run(model__hidden="[red]"), run(model__hidden="[/bold]")])
    for text in (plain_table(comparison), on_terminal(comparison, 100)):
        assert "[red]" in text
        assert "[/bold]" in text


def test_rows_that_are_scored_on_different_images_are_parted_by_a_line() -> None:
    few = [run(0.9, 0.89, model__name=name, dataset__test_size=100, **data("t", "few")) for name in "ab"]
    every = [run(0.9, 0.87 - 0.1 * (name == "c"), model__name=name, **data("t", "all")) for name in "abc"]
    comparison = compare([*few, *every])
    lines = plain_table(comparison).splitlines()
    rules = [place for place, line in enumerate(lines) if line.startswith("┄")]
    assert [lines[place - 1][0] for place in rules] == ["b", "c"]
    assert [lines[place + 1].split()[:2] for place in rules] == [["c", "-"], ["a", "100"]]
    assert "Rows scored on different test images are shown in groups" in on_terminal(comparison, 200)
    assert "┄" not in plain_table(compare([*few, *every], sort_by="model"))


def test_the_file_formats_say_on_which_images_a_row_is_scored() -> None:
    comparison = compare([run(0.9, 0.8, **data("t", digest), model__name=name) for name, digest in ("ax", "by")])
    assert [row["judged_on"] for row in json.loads(render(comparison, "json"))["rows"]] == ["x", "y"]
    assert [line.rsplit(",", 1)[1] for line in render(comparison, "csv").splitlines()] == ["judged_on", "x", "y"]

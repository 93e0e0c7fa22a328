"""The rates of the calibration table, each measured with the functions that a comparison uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from harness.analysis.comparison import Comparison, compare
from harness.analysis.differences import Findings, differences
from harness.analysis.effects import effects
from harness.analysis.rows import Row
from harness.metrics import onset
from harness.records import Predictions, RunRecord
from harness.reports.testing import all_tests
from tests.calibration.real_runs import (
    SEEDS,
    Values,
    curves,
    drawn,
    draws,
    equalised,
    metrics,
    records,
    right,
    settings,
    truth,
)

GAP, LOSS, ACCURACY = "gap_val_accuracy", "gap_val_loss", "val_accuracy"
NS = (2, 3, 5, 10)


@dataclass(frozen=True)
class Rate:
    """A measured share in percent, or a value in `unit`; `nominal` is the promised rate, in words."""

    group: str
    what: str
    case: str
    nominal: str
    value: float
    unit: str = "%"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.group, self.what, self.case


def share(trial: Callable[[np.random.Generator], bool | None], times: int, seed: int = 0) -> float:
    """How often a trial is true, in percent of the trials that are not None."""
    rng = np.random.default_rng(seed)
    told = [answer for _ in range(times) if (answer := trial(rng)) is not None]
    return 100 * float(np.mean(told)) if told else float("nan")


def claimed(findings: Findings, measure: str | None = GAP) -> bool:
    return any(
        of.corrected < 0.05 for of in findings.findings if measure is None or of.measure == measure
    )  # fmt: skip


def some(values: Values, count: int) -> Values:
    return dict(islice(values.items(), count))


def row_intervals(times: int) -> Iterator[Rate]:
    """The t interval of a row's mean."""
    for n in NS:
        for name, words in ((GAP, "gap of accuracy"), (LOSS, "gap of loss"), (ACCURACY, "accuracy")):

            def covers(rng: np.random.Generator, n: int = n, name: str = name) -> bool:
                key = list(settings())[rng.integers(6)]
                (row,) = compare(records(drawn({key: settings()[key]}, n, rng))).rows
                interval = row.scores[name].interval
                assert interval is not None
                return interval.low <= truth(settings()[key], name) <= interval.high

            yield Rate(
                "mean of a row", f"95 % interval holds the mean, {words}", f"n = {n}", "95", share(covers, times)
            )

    def collapsing(rng: np.random.Generator) -> bool:
        """One run in ten has learnt nothing: all accuracies are 10 %."""
        values = drawn(some(settings(), 1), 5, rng)
        (key, of), lost = next(iter(values.items())), rng.random(5) < 0.1
        of = np.where(lost[:, None], [0.1, 2.3, 0.1, 2.3, 0.1, 2.3], of)
        (row,) = compare(records({key: of})).rows
        mean = 0.9 * truth(settings()[key], ACCURACY) + 0.1 * 0.1
        interval = row.scores[ACCURACY].interval
        assert interval is not None
        return interval.low <= mean <= interval.high

    yield Rate(
        "mean of a row", "the same where one run in ten collapses, accuracy", "n = 5", "", share(collapsing, times)
    )


def effect_alarms(times: int) -> Iterator[Rate]:
    """`--effect` of a setting without effect: its two levels are different seeds of the same configurations."""
    for configurations in (1, 3, 6):
        for n in NS:

            def alarm(rng: np.random.Generator, n: int = n, configurations: int = configurations) -> bool:
                chosen = rng.choice(SEEDS, size=2 * n, replace=False)
                runs: list[RunRecord] = []
                for level, seeds in (("a", chosen[:n]), ("b", chosen[n:])):
                    part = {key: of[seeds] for key, of in some(settings(), configurations).items()}
                    runs += records(part, regime__placebo=level)
                return claimed(effects(compare(runs), "regime.placebo"))

            case = f"{configurations} configuration{'s' * (configurations > 1)}, n = {n}"
            group, what = "--effect of a setting without effect", "claims a difference in the gap of accuracy"
            yield Rate(group, what, case, "at most 5", share(alarm, times))


def baseline_alarms(times: int) -> Iterator[Rate]:
    """`--baseline` if all rows are equal."""
    equal = equalised(settings())
    for rows in (2, 3, 6):
        for n in NS:

            def alarm(rng: np.random.Generator, n: int = n, rows: int = rows, measure: str | None = GAP) -> bool:
                comparison = compare(records(drawn(some(equal, rows), n, rng)))
                return claimed(differences(comparison, _row(comparison, "mlp_128", "0.0")), measure)

            case = f"{rows} rows, n = {n}"
            group = "--baseline among equal rows"
            yield Rate(group, "claims a difference in the gap of accuracy", case, "at most 5", share(alarm, times))
            if rows == 6:
                page = share(lambda rng, alarm=alarm: alarm(rng, measure=None), times)  # type: ignore[misc]
                yield Rate(group, "claims a difference in one of the three measures", case, "at most 15", page)
    for n in NS:

        def welch(rng: np.random.Generator, n: int = n) -> bool:
            values = some(equal, 2)
            (one, other) = (drawn({key: of}, n, rng) for key, of in values.items())
            comparison = compare(records(one) + records(other, first_seed=100))
            return claimed(differences(comparison, comparison.rows[0]))

        what = "the same of two rows without a common seed (Welch)"
        yield Rate("--baseline among equal rows", what, f"n = {n}", "at most 5", share(welch, times))

    def chosen(rng: np.random.Generator) -> bool:
        comparison = compare(records(drawn(equal, 5, rng)))
        return claimed(differences(comparison, comparison.rows[0]))

    what = "the same where the baseline was chosen because it ranks first"
    yield Rate("--baseline among equal rows", what, "6 rows, n = 5", "", share(chosen, times))


def power(times: int) -> Iterator[Rate]:
    """How often a true difference in the gap of accuracy between one of six rows and the baseline is claimed."""
    equal = equalised(settings())
    deviation = float(np.mean([(of[:, 0] - of[:, 2]).std(ddof=1) for of in equal.values()]))
    for n in (3, 5, 10):
        for size in (1.5, 2.0):

            def found(rng: np.random.Generator, n: int = n, size: float = size) -> bool:
                values = dict(drawn(equal, n, rng))
                values["mlp_300_100", "0.0"] = values["mlp_300_100", "0.0"] + np.array(
                    [size * deviation, 0, 0, 0, 0, 0]
                )
                comparison = compare(records(values))
                claims = differences(comparison, _row(comparison, "mlp_128", "0.0")).findings
                wanted = {"model.name": "mlp_300_100", "model.dropout": "0.0"}
                return any(of.corrected < 0.05 for of in claims if of.cells == wanted and of.measure == GAP)

            yield Rate(
                "power", f"a true difference of {size:g} standard deviations is claimed", f"6 rows, n = {n}", "",
                share(found, times),
            )  # fmt: skip


def reports(times: int) -> Iterator[Rate]:
    """A report: false claims if all rows are equal, and its headline if they are not."""
    equal = equalised(settings())
    for n in (3, 5, 10):

        def alarm(rng: np.random.Generator, n: int = n) -> bool:
            tests = all_tests(compare(records(drawn(equal, n, rng))))
            return any(of.corrected < 0.05 for _, of in tests.of(GAP))

        what = "claims a difference in the gap of accuracy where there is none"
        yield Rate("report", what, f"6 rows, n = {n}", "at most 5", share(alarm, times))

        def headline(rng: np.random.Generator, n: int = n) -> bool | None:
            comparison = compare(records(drawn(settings(), n, rng)))
            claims = [
                (block, of) for block, of in all_tests(comparison).of(GAP)
                if of.corrected < 0.05 and of.simultaneous and not of.simultaneous.low <= 0 <= of.simultaneous.high
            ]  # fmt: skip
            if not claims:
                return None
            block, of = max(claims, key=lambda claim: abs(claim[1].difference.mean if claim[1].difference else 0.0))
            assert of.simultaneous is not None
            return of.simultaneous.low <= _true_effect(block, of.cells) <= of.simultaneous.high

        what = "the interval of the headline holds the true difference"
        yield Rate("report", what, f"6 rows, n = {n}", "at least 95", share(headline, times))


def few_common_seeds(times: int) -> Iterator[Rate]:
    """Two rows of five seeds each, with few seeds in common."""
    equal = some(equalised(settings()), 2)
    for common in (2, 4):

        def alarm(rng: np.random.Generator, common: int = common) -> bool:
            chosen = rng.choice(SEEDS, size=10 - common, replace=False)
            (first, one), (second, other) = equal.items()
            mine, theirs = chosen[:5], np.concatenate([chosen[:common], chosen[5:]])
            labels = [*range(common), *range(100, 105 - common)]
            runs = records({first: one[mine]})
            for label, place in zip(labels, theirs, strict=True):
                runs += records({second: other[place : place + 1]}, first_seed=label)
            comparison = compare(runs)
            return claimed(differences(comparison, comparison.rows[0]))

        yield Rate("--baseline among equal rows", f"the same where {common} of 5 seeds are common", "2 rows, n = 5",
                   "at most 5", share(alarm, times))  # fmt: skip


def underfit(times: int) -> Iterator[Rate]:
    """How often rows are called underfit, if they are as accurate as the others and if one is not."""
    equal = equalised(settings())
    for n in (3, 5):
        found = _pages(equal, n, times)
        sure = 100 * float(np.mean([any(row.underfit and row.underfit_shown for row in of.rows) for of in found]))
        perhaps = 100 * float(np.mean([any(row.underfit for row in of.rows) for of in found]))
        case = f"6 equal rows, n = {n}"
        yield Rate("underfit", "a row of the page is called `underfit`", case, "at most 5", sure)
        yield Rate("underfit", "a row of the page is called `underfit` or `underfit?`", case, "", perhaps)
        edge = dict(equal)
        edge["mlp_300_100", "0.2"] = edge["mlp_300_100", "0.2"] - np.array([0.02, 0, 0.02, 0, 0.02, 0])
        rows = [_row(of, "mlp_300_100", "0.2") for of in _pages(edge, n, times)]
        called = 100 * float(np.mean([row.underfit and row.underfit_shown for row in rows]))
        what = "one that is just 2 points less accurate is called `underfit`"
        yield Rate("underfit", what, f"6 rows, n = {n}", "at most 5", called)
        lower = dict(equal)
        lower["mlp_300_100", "0.2"] = lower["mlp_300_100", "0.2"] - np.array([0.04, 0, 0.04, 0, 0.04, 0])
        rows = [_row(of, "mlp_300_100", "0.2") for of in _pages(lower, n, times)]
        yield Rate("underfit", "one that is 4 points less accurate is called `underfit`", f"6 rows, n = {n}", "",
                   100 * float(np.mean([row.underfit and row.underfit_shown for row in rows])))  # fmt: skip


def fronts(times: int) -> Iterator[Rate]:
    """How many rows that are shown on the front belong to it, by the share that is shown with them."""
    means = {key: (truth(of, GAP), truth(of, ACCURACY)) for key, of in settings().items()}
    belongs = {
        key for key, (gap, accuracy) in means.items()
        if not any(g <= gap and a >= accuracy and (g, a) != (gap, accuracy) for g, a in means.values())
    }  # fmt: skip
    for n in (3, 5, 10):
        shown = [row for of in _pages(settings(), n, times) for row in of.rows if row.on_front]
        for words, low, high in (("90 % and more", 0.9, 1.01), ("50 to 90 %", 0.5, 0.9), ("below 50 %", 0.0, 0.5)):
            right_ones = [_key(row) in belongs for row in shown if low <= row.front_share < high]
            if right_ones:
                yield Rate("Pareto front", f"rows shown with {words} that belong to it", f"6 rows, n = {n}", "",
                           100 * float(np.mean(right_ones)))  # fmt: skip


def selection(times: int) -> Iterator[Rate]:
    """By how much the first of equal rows looks too good, on the split that ranked it and on the other."""
    equal = equalised(settings())
    rng = np.random.default_rng(5)
    for rows, n in ((6, 5), (24, 3)):
        off: dict[str, list[float]] = {"val": [], "test": []}
        for _ in range(times):
            found = []
            for _ in range(rows // 6):
                for of in drawn(equal, n, rng).values():
                    found.append(of.mean(axis=0))
            best = min(found, key=lambda scores: scores[0] - scores[2])
            mean = next(iter(equal.values())).mean(axis=0)
            for split, place in (("val", 2), ("test", 4)):
                off[split].append((mean[0] - mean[place]) - (best[0] - best[place]))
        for split, words in (("val", "validation, which ranked it"), ("test", "test")):
            what, case = f"its gap of accuracy is too small on {words}", f"{rows} rows, n = {n}"
            yield Rate("first of equal rows", what, case, "0", 100 * float(np.mean(off[split])), "points")


def images(times: int) -> Iterator[Rate]:
    """Intervals of rows that are evaluated on a part of the 10,000 test images, which stand for all images."""
    group = "held-out images"
    for count in (500, 2000):
        for n in (3, 5, 10):
            found = np.array(
                [_evaluated(count, n, np.random.default_rng((7, count, n, trial))) for trial in range(times // 4)]
            )
            case = f"{count:,} images, n = {n}"
            for what, place, nominal in (
                ("accuracy on all images lies in the interval over seeds", 0, ""),
                ("accuracy on all images lies in the interval over seeds and images", 1, "at least 95"),
                ("a difference on all images lies in the interval over seeds", 2, ""),
                ("a difference on all images lies in the interval over seeds and images", 3, "at least 95"),
            ):
                yield Rate(group, what, case, nominal, 100 * float(found[:, place].mean()))


def _evaluated(count: int, n: int, rng: np.random.Generator) -> tuple[bool, bool, bool, bool]:
    chosen, seeds = rng.choice(10_000, size=count, replace=False), rng.choice(SEEDS, size=n, replace=False)
    labels = np.zeros(count, dtype=np.uint8)
    runs, predictions, true = [], {}, {}
    for dropout in ("0.0", "0.2"):
        every = right(dropout)
        true[dropout] = float(every.mean())
        for seed, place in enumerate(seeds):
            answers = every[place, chosen]
            scores = [1.0, 0.0, 0.0, 0.0, float(answers.mean()), 0.0]
            (made,) = records({("mlp_128", dropout): np.array([scores])}, first_seed=seed)
            runs.append(made)
            predicted = (~answers).astype(np.uint8)
            predictions[made.run_id] = {"test": Predictions(labels, predicted, np.zeros(count, dtype=np.float16))}
    comparison = compare(runs, predictions=predictions, held_out="test")
    row = _row(comparison, "mlp_128", "0.0")
    score = row.scores["test_accuracy"]
    finding = next(of for of in differences(comparison, row).findings if of.measure == "test_accuracy")
    assert finding.difference is not None
    gain = true["0.2"] - true["0.0"]
    intervals = (score.interval, score.wider, finding.difference.interval, finding.wider_interval)
    wanted = (true["0.0"], true["0.0"], gain, gain)
    held = [one is not None and one.low <= value <= one.high for one, value in zip(intervals, wanted, strict=True)]
    return held[0], held[1], held[2], held[3]


def data_draws(times: int) -> Iterator[Rate]:
    """Intervals for the mean over draws of the training images."""
    (model, dropout), values = next(iter(draws().items()))
    mean = truth(values, GAP)

    def one_draw(rng: np.random.Generator) -> bool:
        (row,) = compare(records({(model, dropout): values[rng.integers(20)]})).rows
        interval = row.scores[GAP].interval
        assert interval is not None
        return interval.low <= mean <= interval.high

    group = "draws of the training images"
    yield Rate(
        group,
        "the mean over draws lies in the interval over three seeds of one draw",
        "n = 3",
        "",
        share(one_draw, times),
    )
    for n in (3, 5, 10):

        def several(rng: np.random.Generator, n: int = n) -> bool:
            part = values[rng.choice(20, size=n, replace=False)]
            stretch = 1 / np.sqrt(1 - n / 20) - 1
            part = part + stretch * (part.mean(axis=(0, 1)) - values.mean(axis=(0, 1)))
            runs = []
            for draw, of in enumerate(part):
                for made in records({(model, dropout): of}, dataset__seed=draw):
                    digests = {"data.train_digest": f"train {draw}"}
                    runs.append(_with(made, digests))
            (row,) = compare(runs).rows
            interval = row.scores[GAP].interval
            assert interval is not None
            assert row.scores[GAP].n == n
            return interval.low <= mean <= interval.high

        yield Rate(
            group, "it lies in the interval over draws, three seeds each", f"n = {n}", "95", share(several, times)
        )


def onsets(times: int) -> Iterator[Rate]:
    """The onset on real curves of forty epochs, sixteen runs each."""
    for sweep, words in (
        ("falling", "the validation loss still falls (SGD)"),
        ("cosine", "a cosine schedule, the loss ends above its least"),
        ("turning", "the loss turns (Adam, a larger network)"),
    ):
        found = [onset(*curve) for curve in curves(sweep)]
        yield Rate(
            "onset",
            f"an onset is shown where {words}",
            "40 epochs",
            "",
            100 * float(np.mean([bool(of) for of in found])),
        )
        epochs = [of.epoch for of in found if of]
        if epochs:
            mean_curve = np.mean([curve[1] for curve in curves(sweep)], axis=0)
            yield Rate("onset", f"its median less the least epoch of the mean curve: {words}", "40 epochs", "0",
                       float(np.median(epochs)) - float(mean_curve.argmin() + 1), "epochs")  # fmt: skip


GROUPS = (
    row_intervals, effect_alarms, baseline_alarms, few_common_seeds, power, reports, underfit, fronts, selection,
    images, data_draws, onsets,
)  # fmt: skip


def measure(times: int) -> list[Rate]:
    """Every rate, each from `times` pseudo-sweeps (intervals over images from a quarter of them)."""
    return [rate for group in GROUPS for rate in group(times)]


def _pages(values: Values, n: int, times: int) -> list[Comparison]:
    rng = np.random.default_rng(n)
    return [compare(records(drawn(values, n, rng))) for _ in range(times)]


def _row(comparison: Comparison, model: str, dropout: str) -> Row:
    return next(row for row in comparison.rows if _key(row) == (model, dropout))


def _key(row: Row) -> tuple[str, str]:
    parameters = row.runs[0].parameters
    return parameters["model.name"], parameters["model.dropout"]


def _true_effect(block: Findings, cells: object) -> float:
    """The true mean difference between a level and the reference, over all configurations."""
    assert isinstance(cells, dict)
    ((key, level),) = cells.items()
    reference = block.baseline.partition("=")[2]
    place = 0 if key == "model.name" else 1
    means = {configuration: truth(of, GAP) for configuration, of in settings().items()}
    found = [
        means[configuration] - means[other]
        for configuration in means for other in means
        if configuration[place] == level and other[place] == reference and configuration[1 - place] == other[1 - place]
    ]  # fmt: skip
    return float(np.mean(found))


def _with(record: RunRecord, parameters: dict[str, str]) -> RunRecord:
    from dataclasses import replace

    return replace(record, parameters={**record.parameters, **parameters})


__all__ = ["GROUPS", "Rate", "measure", "metrics"]

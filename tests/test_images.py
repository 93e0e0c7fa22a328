"""Which runs saw the same images: by recorded digests, otherwise by the settings that decide the images."""

from __future__ import annotations

from dataclasses import replace

from harness.images import DATASET_TAG, Images, files_in_words, images_of, unrecorded
from harness.records import RunRecord
from tests.analysis.records import data, run


def of_files(record: RunRecord, digest: str) -> RunRecord:
    return replace(record, tags={**record.tags, DATASET_TAG: digest})


def test_recorded_digests_count_more_than_settings() -> None:
    one = run(dataset__seed=0, **data("t", "s"))
    other = run(dataset__seed=5, **data("t", "s", "v"))
    assert images_of([one, other]) == [Images("t", "None", "s"), Images("t", "v", "s")]


def test_a_run_without_digests_has_those_of_one_with_equal_settings_and_files() -> None:
    known = of_files(
        run(dataset__name="mnist", dataset__train_size=5, dataset__label_noise="0.0", **data("t", "s")), "f"
    )
    earlier = of_files(run(dataset__name="mnist", dataset__train_size=5), "f")  # recorded before label noise existed
    noisy = of_files(run(dataset__name="mnist", dataset__train_size=5, dataset__label_noise=0.2), "f")
    variant = of_files(run(dataset__name="mnist", dataset__train_size=5), "g")
    seen = images_of([known, earlier, noisy, variant])
    assert (seen[1].train, seen[1].test) == ("t", "s")
    assert (seen[2].train == "t", seen[2].test) == (False, "s"), "noise changes no test image"
    assert len({seen[0].test, seen[3].test}) == 2
    assert unrecorded([known, earlier, noisy, variant]) == 3


def test_a_job_that_failed_before_it_had_data_counts_with_the_others_of_its_settings_and_folder() -> None:
    known = of_files(run(dataset__directory="/a", **data("t", "s")), "f")
    elsewhere = of_files(run(dataset__directory="/b", **data("u", "r")), "g")
    seen = images_of([known, elsewhere, run(dataset__directory="/b")])
    assert seen[2] == seen[1]


def test_a_folder_whose_files_changed_identifies_no_images() -> None:
    before = of_files(run(dataset__directory="/a", **data("t", "s")), "f")
    after = of_files(run(dataset__directory="/a", **data("u", "r")), "g")
    seen = images_of([before, after, run(dataset__directory="/a")])
    assert seen[2].test not in ("s", "r")


def test_validation_images_are_identified_by_their_settings() -> None:
    strategy = {"regime__validation__strategy": "random", "regime__validation__size": 10}
    first, second = (run(**strategy, regime__validation__seed=seed) for seed in (0, 1))
    seen = images_of([first, second, run(regime__validation__strategy="none")])
    assert len({images.val for images in seen}) == 3
    assert seen[2].val == "None"
    assert seen[0].test == seen[1].test


def test_files_have_the_name_that_any_run_recorded_for_them() -> None:
    said = of_files(run(**data("t", "s", variant="published")), "f")
    earlier, odd = of_files(run(), "f"), of_files(run(), "1234567890")
    nothing = run()
    words = files_in_words([said, earlier, odd, nothing])
    assert words == {said.run_id: "published", earlier.run_id: "published", odd.run_id: "files 12345678"}

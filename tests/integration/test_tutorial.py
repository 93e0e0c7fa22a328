"""docs/guides.md shows what its commands print: they are run, and the page is made again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from cogapp import Cog

from harness.paths import cache_directory
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "guides.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as `make tutorial` makes it, in a folder with its pictures; its commands are forks."""
    folder = tmp_path_factory.mktemp("tutorial")
    page = Path(shutil.copyfile(PAGE, folder / PAGE.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "docs")
        patch.setenv("TUTORIAL_IMAGES", str(folder))
        patch.setenv("HARNESS_CACHE", str(cache_directory()))  # all 60,000 images, fetched where they are not there yet
        # Cog imports the module `tutorial`, and gives it the module `cog`.
        start = "import tutorial; from tests.forking import ForkedCommand; tutorial.start_command = ForkedCommand"
        assert Cog().main(["cog", "-r", "-p", start, str(page)]) == 0
    return folder


@pytest.mark.slow
def test_the_page_is_what_its_commands_print(made: Path) -> None:
    def shape(file: Path) -> list[str]:
        """Its lines without numbers, which other processors and the time of day change, and their spacing."""
        return [
            re.sub(r"[0-9a-f]{32}|[-+]?\d[\d.,]*|\s+|─+", " ", line).strip() for line in file.read_text().splitlines()
        ]

    assert shape(made / PAGE.name) == shape(PAGE)


@pytest.mark.slow
def test_every_picture_of_the_page_is_made(made: Path) -> None:
    pictures = re.findall(r"\]\(images/(\w+\.png)\)", PAGE.read_text())
    assert len(pictures) >= 8
    for name in pictures:
        assert (made / name).read_bytes().startswith(b"\x89PNG"), name

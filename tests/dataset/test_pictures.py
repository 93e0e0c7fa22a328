from __future__ import annotations

import io
import os
import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import pictures
from harness.data.pictures import read_array, read_picture
from harness.errors import DataError, RequestError

BOX = (slice(30, 90), slice(40, 60))

SHAPE = (28, 28)


def grey() -> np.ndarray:
    """A light bar on black, (120, 100)."""
    page = np.zeros((120, 100), np.uint8)
    page[BOX] = 200
    return page


def saved(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


def expected(tmp_path: Path) -> np.ndarray:
    return read_picture(saved(tmp_path, "expected.png", Image.fromarray(grey())), "mnist", SHAPE).image


def transparent(colour: tuple[int, ...]) -> Image.Image:
    page = np.zeros((120, 100, len(colour)), np.uint8)
    page[BOX] = colour
    return Image.fromarray(page)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_every_mode_of_a_png_gives_the_same_image(mode: str, tmp_path: Path) -> None:
    two_tones = Image.fromarray(np.where(grey() > 0, 255, 0).astype(np.uint8))
    picture = read_picture(saved(tmp_path, "a.png", two_tones.convert("RGB").convert(mode)), "mnist", SHAPE)
    np.testing.assert_array_equal(picture.image, expected(tmp_path))
    assert (picture.looks_inverted, picture.notes) == (False, ())


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp", "a.jp2", "a.ppm", "a.avif"])
def test_every_format_gives_nearly_the_same_image(name: str, tmp_path: Path) -> None:
    file = saved(tmp_path, name, Image.fromarray(grey()).convert("RGB"))
    assert np.abs(read_picture(file, "mnist", SHAPE).image.astype(int) - expected(tmp_path)).mean() < 3


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    for name in ("a.png", "a.tif", "a.pgm"):
        np.testing.assert_array_equal(
            read_picture(saved(tmp_path, name, deep), "mnist", SHAPE).image, expected(tmp_path)
        )


def test_sixteen_bits_of_a_picture_that_is_not_fitted_keep_their_brightness(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    file = saved(tmp_path, "a.png", Image.fromarray(pixels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_picture(file, "mnist", SHAPE).image, pixels)


def test_sixteen_bits_can_have_a_transparent_value(tmp_path: Path) -> None:
    deep = Image.fromarray(np.where(grey() > 0, 60_000, 50_000).astype(np.uint16))
    file = saved(tmp_path, "a.png", deep, transparency=50_000)
    np.testing.assert_array_equal(read_picture(file, "mnist", SHAPE).image, expected(tmp_path))


def test_pixels_without_known_black_and_white_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.tif", Image.fromarray(grey().astype(np.float32) / 255))
    with pytest.raises(DataError, match=r"a\.tif: its pixels are floating point.*Save it with 8 or 16 bits"):
        read_picture(file, "mnist", SHAPE)
    file = saved(tmp_path, "b.tif", Image.fromarray(grey().astype(np.int32) * 100_000))
    with pytest.raises(DataError, match=r"32 bit numbers from 0 to 2e\+07"):
        read_picture(file, "mnist", SHAPE)


def test_printers_colours_are_understood(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.jpg", Image.fromarray(grey()).convert("RGB").convert("CMYK"), quality=95)
    assert np.abs(read_picture(file, "mnist", SHAPE).image.astype(int) - expected(tmp_path)).mean() < 3


def test_colours_that_cannot_be_made_grey_are_refused() -> None:
    with pytest.raises(DataError, match=r"its colours \(La\) cannot be made grey. Save it in RGB"):
        pictures.grey_values(Image.new("La", (50, 50)))


@pytest.mark.parametrize("colour", [(255, 255, 255, 255), (230, 255), (255, 255, 0, 255)])
def test_a_light_drawing_on_nothing_is_taken_as_light_on_dark(colour: tuple[int, ...], tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path, "a.png", transparent(colour)), "mnist", SHAPE)
    np.testing.assert_allclose(picture.image, expected(tmp_path), atol=1)
    assert not picture.looks_inverted


@pytest.mark.parametrize("colour", [(0, 0, 0, 255), (20, 255), (0, 0, 160, 255)])
def test_a_dark_drawing_on_nothing_is_seen_too_and_looks_inverted(colour: tuple[int, ...], tmp_path: Path) -> None:
    file = saved(tmp_path, "a.png", transparent(colour))
    assert read_picture(file, "mnist", SHAPE).looks_inverted
    turned = read_picture(file, "mnist", SHAPE, invert=True)
    np.testing.assert_allclose(turned.image, expected(tmp_path), atol=1)
    assert not turned.looks_inverted


def test_a_palette_with_a_transparent_colour_is_laid_on_a_background(tmp_path: Path) -> None:
    drawn = Image.fromarray(np.where(grey() > 0, 1, 0).astype(np.uint8))
    drawn.putpalette([255, 255, 255, 250, 250, 250])  # white on white that is not there
    file = saved(tmp_path, "a.png", drawn, transparency=0)
    np.testing.assert_array_equal(read_picture(file, "mnist", SHAPE).image, expected(tmp_path))


def test_a_picture_that_is_wholly_transparent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png: it is wholly transparent\."):
        read_picture(saved(tmp_path, "a.png", Image.new("RGBA", (40, 40))), "mnist", SHAPE)


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x112] = 6
    lying = Image.fromarray(grey()).rotate(90, expand=True).convert("RGB")
    upright = read_picture(saved(tmp_path, "a.jpg", lying, exif=orientation), "mnist", SHAPE).image
    assert np.abs(upright.astype(int) - expected(tmp_path)).mean() < 3


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    first = Image.fromarray(grey())
    file = saved(tmp_path, "a.gif", first, save_all=True, append_images=[first.rotate(90), first.rotate(45)])
    np.testing.assert_allclose(read_picture(file, "mnist", SHAPE).image, expected(tmp_path), atol=1)


@pytest.mark.parametrize("fit", pictures.FITS)
def test_a_picture_of_28_by_28_is_taken_as_it_is(fit: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    file = saved(tmp_path, "a.png", Image.fromarray(pixels))
    np.testing.assert_array_equal(read_picture(file, fit, SHAPE).image, pixels)
    np.testing.assert_array_equal(read_picture(file, fit, SHAPE, invert=True).image, 255 - pixels)


def test_a_picture_that_looks_inverted_is_said_to_and_not_turned(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.png", Image.fromarray(255 - grey()))
    picture = read_picture(file, "mnist", SHAPE)
    assert picture.looks_inverted
    assert picture.image[0, 14] == 0  # the canvas around what is now a light page with a dark bar
    assert picture.image[5, 14] == 255
    np.testing.assert_array_equal(read_picture(file, "mnist", SHAPE, invert=True).image, expected(tmp_path))


def test_an_unknown_fit_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'mnits' is no fit.*Did you mean 'mnist'"):
        read_picture(tmp_path / "a.png", "mnits", SHAPE)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes whose header promises side x side pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 100))]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(grey()).save(stream, "JPEG")
    return stream.getvalue()


FAULTS = {
    "empty.png": (b"", "it is empty"),
    "text.png": (b"no picture at all", "it is no picture of a format that is read here: PNG, JPEG"),
    "postscript.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no picture"),
    "cut.jpg": (jpeg()[:600], "it is damaged or cut short"),
    "large.png": (bomb(9_000), "it has 9,000 x 9,000 pixels, more than the 64 million"),
    "huge.png": (bomb(12_000), "it has 12,000 x 12,000 pixels, more than"),
    "bomb.png": (bomb(200_000), "it promises more pixels than the 64 million"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_of_a_file_has_a_message_that_names_it(name: str, tmp_path: Path) -> None:
    content, message = FAULTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {message}.*\\.$"):
        read_picture(tmp_path / name, "mnist", SHAPE)


def test_what_is_no_file_is_told_apart(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "heavy.png").open("wb") as heavy:
        heavy.truncate(65 * 2**20)
    (tmp_path / "away.png").symlink_to(tmp_path / "nowhere")
    for name, message in (
        (".", "it is a folder"),
        ("absent.png", "there is no such file"),
        ("away.png", "there is no such file"),
        ("absent.png/inside.png", "there is no such file"),
        ("pipe", "it is no regular file"),
        ("heavy.png", "it has 65 MiB; a picture may have at most 64"),
        ("x" * 300, "it cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            read_picture(tmp_path / name, "mnist", SHAPE)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_no_damage_to_a_file_gets_past_as_another_exception(form: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(grey()).convert("RGB").save(stream, form)
    whole, chance = stream.getvalue(), random.Random(0)
    for _ in range(60):
        content = bytearray(whole[: chance.randrange(1, len(whole) + 1)])
        for _ in range(chance.choice((0, 1, 5))):
            content[chance.randrange(min(len(content), 300))] = chance.randrange(256)
        (tmp_path / "a").write_bytes(content)
        with suppress(DataError):
            assert read_picture(tmp_path / "a", "mnist", SHAPE).image.shape == (28, 28)


def test_an_odd_file_is_read_with_a_note(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.jpg", Image.fromarray(grey()), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09cut")
    picture = read_picture(file, "mnist", SHAPE)
    assert np.abs(picture.image.astype(int) - expected(tmp_path)).mean() < 3
    assert picture.notes
    assert all(note.startswith(f"{file}: ") for note in picture.notes)


def written(tmp_path: Path, array: np.ndarray) -> Path:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    return tmp_path / "a.npy"


def test_an_array_of_one_image_or_many_is_read(tmp_path: Path) -> None:
    many = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
    np.testing.assert_array_equal(read_array(written(tmp_path, many), SHAPE), many)
    np.testing.assert_array_equal(read_array(written(tmp_path, np.asfortranarray(many)), SHAPE), many)
    np.testing.assert_array_equal(read_array(written(tmp_path, many[1]), SHAPE), many[1:2])
    np.testing.assert_array_equal(read_array(written(tmp_path, many), SHAPE, invert=True), 255 - many)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 28, 28)), r"float64, of values up to 1: save \(array \* 255\)"),
        (np.full((2, 28, 28), 99.0), r"float64: if its values are 0 to 255, save array.astype"),
        (np.zeros((2, 28, 28), np.int64), r"int64: if its values"),
        (np.zeros((2, 28, 28), bool), r"bool: if its values"),
        (np.zeros((2, 784), np.uint8), r"\(2, 784\): save array.reshape\(-1, 28, 28\)"),
        (np.zeros((2, 28, 28, 1), np.uint8), r"\(2, 28, 28, 1\): save array\[\.\.\., 0\]"),
        (np.zeros((2, 32, 32), np.uint8), r"\(2, 32, 32\): save its pictures as image files"),
        (np.zeros((0, 28, 28), np.uint8), r"\(0, 28, 28\): there is no image in it"),
        (np.uint8(3), r"its shape is \(\)"),
        (np.array([{}], object), "holds Python objects"),
    ],
)
def test_another_array_is_refused_with_the_remedy(array: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_array(written(tmp_path, array), SHAPE)


def test_another_file_than_an_array_is_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((2, 28, 28), np.uint8))
    (tmp_path / "text").write_text("0 1 2 3")
    (tmp_path / "empty").touch()
    (tmp_path / "cut").write_bytes(written(tmp_path, np.zeros((2, 28, 28), np.uint8)).read_bytes()[:900])
    (tmp_path / "head").write_bytes((tmp_path / "cut").read_bytes()[:9])
    for name, message in (
        ("a.npz", "it is an .npz archive"),
        ("text", "it is no .npy file"),
        ("empty", "it is empty"),
        ("cut", "it is damaged or cut short"),
        ("head", "it is damaged or cut short"),
        (".", "it is no regular file"),
        ("absent", "there is no such file"),
    ):
        with pytest.raises(DataError, match=message):
            read_array(tmp_path / name, SHAPE)

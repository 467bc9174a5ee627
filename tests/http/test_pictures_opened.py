"""Pictures from outside: what is shown of them, and what is not even opened."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from hub.pictures import MOST_PIXELS, SIZES, Unusable, thumbnails

NO_PICTURE = "What the shop sends there is no JPEG, PNG, WebP or GIF picture."
TOO_LARGE = "The picture has more than 30,000,000 pixels, and is not opened."
DAMAGED = "The picture is damaged: it cannot be opened."


def written(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content))


def left_red_right_blue(width: int = 800, height: int = 400) -> Image.Image:
    picture = Image.new("RGB", (width, height), (220, 0, 0))
    picture.paste((0, 0, 220), (width // 2, 0, width, height))
    return picture


def looks_like(picture: Image.Image, at: tuple[float, float], color: tuple[int, int, int]) -> bool:
    """Whether the picture has about this color at a place, in parts of its width and height."""
    here = picture.convert("RGB").getpixel((round(at[0] * picture.width), round(at[1] * picture.height)))
    assert isinstance(here, tuple)
    return all(abs(one - other) < 30 for one, other in zip(here, color, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_of_each_kind_is_kept_as_webp_in_both_sizes(kind: str) -> None:
    files = thumbnails(written(left_red_right_blue(), kind))

    small, large = (opened(files[size]) for size in ("small", "large"))
    assert files.keys() == SIZES.keys()
    assert (small.format, small.size, large.format, large.size) == ("WEBP", (96, 48), "WEBP", (400, 200))
    for each in (small, large):
        assert looks_like(each, (0.25, 0.5), (220, 0, 0))
        assert looks_like(each, (0.75, 0.5), (0, 0, 220))


def test_a_small_picture_is_not_made_larger() -> None:
    assert opened(thumbnails(written(Image.new("RGB", (30, 20)), "PNG"))["large"]).size == (30, 20)


def test_a_photograph_stands_upright_and_says_nothing_of_its_camera() -> None:
    picture = left_red_right_blue()
    exif = picture.getexif()
    exif[0x0112], exif[0x010F], exif[0x8825] = 6, "A camera", {1: "N"}  # to be turned right; its maker; the place

    large = opened(thumbnails(written(picture, "JPEG", exif=exif, comment=b"for me alone"))["large"])

    assert large.size == (200, 400)
    assert looks_like(large, (0.5, 0.25), (220, 0, 0))
    assert not {"exif", "xmp", "icc_profile", "comment"} & large.info.keys()


def test_what_is_transparent_lies_on_white() -> None:
    clear = thumbnails(written(Image.new("RGBA", (40, 40), (0, 0, 0, 0)), "PNG"))
    assert looks_like(opened(clear["small"]), (0.5, 0.5), (255, 255, 255))


def test_of_a_moving_picture_its_beginning_is_shown() -> None:
    frames = [Image.new("RGB", (60, 60), color) for color in ((0, 120, 0), (120, 0, 0))]
    moving = written(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert looks_like(opened(thumbnails(moving)["small"]), (0.5, 0.5), (0, 120, 0))


# ---------------------------------------------------------------- what is not shown


def a_png_of(width: int, height: int) -> bytes:
    """A file of a few bytes that says it is that large, and would be black all over."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def a_webp_of(side: int) -> bytes:
    """A moving WebP whose canvas is that large, with one small frame."""
    frame = written(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    size = (side - 1).to_bytes(3, "little") * 2
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    moves = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    one = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + frame
    body = b"WEBP" + canvas + moves + b"ANMF" + struct.pack("<I", len(one)) + one
    return b"RIFF" + struct.pack("<I", len(body)) + body


def a_png_that_tells_a_lot() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "x" * 80_000_000, zip=True)
    return written(Image.new("1", (8, 8)), "PNG", pnginfo=told)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><rect width="9" height="9"/></svg>'
NOISE = written(Image.effect_noise((300, 300), 90), "PNG")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"", "The shop sends nothing there.", id="nothing"),
        pytest.param(b"<!doctype html><img src=x onerror=alert(1)>", NO_PICTURE, id="a page"),
        pytest.param(SVG, NO_PICTURE, id="SVG with a script"),
        pytest.param(written(Image.new("RGB", (9, 9)), "BMP"), NO_PICTURE, id="a kind that is not opened"),
        pytest.param(written(Image.new("RGB", (9, 9)), "PDF"), NO_PICTURE, id="PDF"),
        pytest.param(b"\xff\xd8\xff\xe0" + SVG, DAMAGED, id="SVG that begins like a JPEG"),
        pytest.param(NOISE[: len(NOISE) // 2], DAMAGED, id="a PNG that ends in the middle"),
        pytest.param(written(left_red_right_blue(), "JPEG")[:900], DAMAGED, id="a JPEG that ends in the middle"),
        pytest.param(a_png_that_tells_a_lot(), DAMAGED, id="a PNG with megabytes of text"),
        pytest.param(a_png_of(6_000, 5_001), TOO_LARGE, id="a little too large"),
        pytest.param(a_png_of(10_000, 10_000), TOO_LARGE, id="so large that Pillow warns"),
        pytest.param(a_png_of(60_000, 60_000), TOO_LARGE, id="a bomb"),
        pytest.param(a_webp_of(16_383), TOO_LARGE, id="a bomb that moves"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(content: bytes, why: str) -> None:
    with pytest.raises(Unusable) as refused:
        thumbnails(content)
    assert str(refused.value) == why


def test_a_picture_may_be_as_large_as_is_allowed() -> None:
    assert MOST_PIXELS == 6_000 * 5_000
    large = written(Image.new("L", (6_000, 5_000)), "JPEG")
    assert opened(thumbnails(large)["large"]).size == (400, 333)

"""Pictures of products that come from outside: opened with care, and drawn anew in the sizes that pages show."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from hub.errors import HubError

if TYPE_CHECKING:
    from PIL import Image

SIZES: Mapping[str, int] = {"small": 96, "large": 400}
"""The longest side of each size, in pixels: twice what pages show, for screens that are that fine."""

MOST_BYTES = 10 * 1024 * 1024
MOST_PIXELS = 30_000_000  # while one is opened it takes 250 MB
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_QUALITY = 78
_WHITE = (255, 255, 255)


class Unusable(HubError):
    """What was sent cannot be shown; the message says why."""


def thumbnails(content: bytes) -> dict[str, bytes]:
    """The picture as WebP in each of ``SIZES``, upright, on white, with nothing beside its pixels.

    What ``content`` is, is seen by its bytes alone. Of a moving picture its beginning is taken. Raises Unusable.
    """
    # Not before it is needed: every process of the hub loads this module, and few ever open a picture.
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise Unusable("The shop sends nothing there.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content), formats=_FORMATS) as opened:
                _check_size(*opened.size)
                upright = _upright(opened)
        return {name: _encoded(upright, side) for name, side in SIZES.items()}
    except Unusable:
        raise
    except UnidentifiedImageError as error:
        raise Unusable("What the shop sends there is no JPEG, PNG, WebP or GIF picture.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unusable(_TOO_MANY_PIXELS) from error
    except Exception as error:  # of whatever kind: a file that was made to break a decoder breaks it anywhere
        raise Unusable("The picture is damaged: it cannot be opened.") from error


_TOO_MANY_PIXELS = f"The picture has more than {MOST_PIXELS:,} pixels, and is not opened."


def _check_size(width: int, height: int) -> None:
    # Both stand in the first bytes. A small file may say that it is larger than all memory.
    if width * height > MOST_PIXELS:
        raise Unusable(_TOO_MANY_PIXELS)


def _upright(opened: Image.Image) -> Image.Image:
    """The first picture of a file as its camera was held, not larger than needed, on white; its pixels alone, without
    where it was taken and by which camera."""
    from PIL import Image, ImageOps

    longest = max(SIZES.values())
    opened.draft("RGB", (longest * 2, longest * 2))  # a JPEG is decoded in small to begin with
    opened.load()
    mode = "RGBA" if opened.has_transparency_data else "RGB"
    # Made small before anything is copied, but where its pixels are numbers of colors, of which there is no mean.
    small = opened if opened.mode in ("L", "RGB", "RGBA", "CMYK", "YCbCr") else opened.convert(mode)
    small.thumbnail((longest, longest), reducing_gap=3.0)
    ImageOps.exif_transpose(small, in_place=True)
    layered = small.convert(mode)
    plain = Image.new("RGB", layered.size, _WHITE)
    plain.paste(layered, mask=layered.getchannel("A") if mode == "RGBA" else None)
    return plain


def _encoded(picture: Image.Image, side: int) -> bytes:
    small = picture.copy()
    small.thumbnail((side, side), reducing_gap=3.0)
    file = BytesIO()
    small.save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()

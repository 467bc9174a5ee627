"""Pictures of what is sold on the street, drawn from a few shapes: shops that are tried out have something to show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import BytesIO

_SIDE = 240  # pixels
_FINE = 2  # drawn so many times as large, so that edges are smooth
_PAPER = (247, 245, 241)
_COLORS = {"Sand": (206, 178, 138), "Moss": (108, 128, 84), "Ink": (52, 66, 96), "Rust": (176, 88, 52)}

_Shape = tuple[str, float, tuple[float, ...]]  # what it is, how light (1: the color itself), where on a field of 100

# From the back to the front.
_SHAPES: dict[str, Sequence[_Shape]] = {
    "MUG": (("ring", 0.8, (60, 38, 84, 66)), ("round", 1, (26, 28, 68, 78)), ("oval", 1.25, (26, 22, 68, 36))),
    "BOWL": (("half", 1, (16, 16, 84, 84)), ("oval", 1.25, (16, 42, 84, 60)), ("box", 0.8, (40, 80, 60, 86))),
    "PLATE": (("oval", 1, (12, 22, 88, 80)), ("oval", 1.2, (24, 30, 76, 70)), ("oval", 1.1, (30, 34, 70, 66))),
    "TEAPOT": (
        ("ring", 0.8, (64, 40, 90, 66)),
        ("poly", 0.85, (32, 62, 8, 40, 15, 36, 36, 48)),
        ("oval", 1, (24, 34, 74, 80)),
        ("half", 1.2, (36, 46, 62, 22)),
        ("oval", 0.8, (45, 24, 53, 32)),
    ),
    "JUG": (
        ("ring", 0.8, (58, 34, 82, 66)),
        ("poly", 1, (30, 22, 24, 16, 66, 22, 70, 82, 30, 82)),
        ("oval", 1.25, (29, 17, 66, 27)),
    ),
    "VASE": (
        ("line", 0.7, (50, 30, 58, 6)),
        ("oval", 1.4, (52, 2, 66, 14)),
        ("round", 1, (43, 26, 57, 56)),
        ("oval", 1, (32, 44, 68, 88)),
        ("oval", 1.25, (43, 23, 57, 30)),
    ),
    "TRAY": (("poly", 1, (20, 34, 80, 34, 94, 70, 6, 70)), ("poly", 1.25, (25, 39, 75, 39, 85, 64, 15, 64))),
    "CANDLE": (
        ("oval", 1.7, (47, 8, 53, 20)),
        ("box", 1.5, (46, 20, 54, 58)),
        ("box", 1, (42, 56, 58, 70)),
        ("oval", 0.85, (24, 66, 76, 84)),
    ),
    "APRON": (
        ("ring", 0.8, (38, 6, 62, 30)),
        ("poly", 1, (38, 20, 62, 20, 66, 40, 80, 44, 80, 90, 20, 90, 20, 44, 34, 40)),
        ("box", 0.85, (38, 56, 62, 70)),
    ),
    "TOWEL": (("box", 1, (26, 18, 74, 86)), ("box", 1.3, (26, 66, 74, 70)), ("box", 1.3, (26, 74, 74, 78))),
    "BOARD": (("round", 1, (28, 30, 72, 90)), ("round", 1, (43, 10, 57, 36)), ("oval", 1.5, (47, 14, 53, 20))),
    "SPOON": (("line", 1, (48, 40, 30, 90)), ("oval", 1, (38, 10, 64, 48)), ("oval", 0.85, (42, 16, 59, 42))),
}


@cache
def drawn(code: str, color: str) -> bytes:
    """The picture of a thing in one of the colors it comes in, as PNG."""
    from PIL import Image, ImageDraw

    side = _SIDE * _FINE
    picture = Image.new("RGB", (side, side), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.ellipse([each * side / 100 for each in (14, 80, 86, 92)], fill=_lit(_PAPER, 0.93))
    for kind, light, where in _SHAPES[code]:
        at = [each * side / 100 for each in where]
        fill = _lit(_COLORS[color], light)
        match kind:
            case "oval":
                pen.ellipse(at, fill=fill)
            case "half":
                top, bottom = sorted((at[1], at[3]))
                below = at[1] < at[3]
                pen.pieslice((at[0], top, at[2], bottom), 0 if below else 180, 180 if below else 360, fill=fill)
            case "ring":
                pen.ellipse(at, outline=fill, width=side // 18)
            case "round":
                pen.rounded_rectangle(at, radius=side / 16, fill=fill)
            case "line":
                pen.line(at, fill=fill, width=side // 22)
            case "poly":
                pen.polygon(at, fill=fill)
            case _:
                pen.rectangle(at, fill=fill)
    file = BytesIO()
    picture.reduce(_FINE).save(file, "PNG")
    return file.getvalue()


def _lit(color: tuple[int, int, int], light: float) -> tuple[int, int, int]:
    """The color in more light, or (below 1) in the shade."""
    red, green, blue = (
        round(each * light) if light <= 1 else round(255 - (255 - each) * (2 - light) ** 1.5) for each in color
    )
    return red, green, blue

# What of flask-babel is used here: it ships no types of its own.
from collections.abc import Callable
from datetime import tzinfo

from babel import Locale
from flask import Flask

class Babel:
    def __init__(
        self,
        app: Flask | None = ...,
        *,
        default_locale: str = ...,
        default_translation_directories: str = ...,
        locale_selector: Callable[[], Locale | str | None] | None = ...,
        timezone_selector: Callable[[], tzinfo | str | None] | None = ...,
    ) -> None: ...

def gettext(string: str, /, **variables: object) -> str: ...
def ngettext(singular: str, plural: str, num: int, /, **variables: object) -> str: ...
def pgettext(context: str, string: str, /, **variables: object) -> str: ...

# A text that is translated where it is printed: good wherever a template or str() takes it.
def lazy_gettext(string: str, /, **variables: object) -> str: ...

"""The settings of one installation: read from the environment and tallyhub.toml, checked, every problem a sentence."""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import os
import re
import secrets
import stat
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from hub.errors import HubError

PREFIX = "TALLYHUB_"
TOML_NAME = "tallyhub.toml"
KEY_FILE_NAME = "secret.keys"
DATABASE_NAME = "tallyhub.sqlite3"

# Names that start like ours and are none of our business: what the repository's own tests read, and what Kubernetes
# puts into every container beside a service called "tallyhub" or "tallyhub-web".
_FOREIGN = re.compile(
    r"TALLYHUB_(TEST_\w+|SPECS|FIXTURES|CHROMIUM|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT_\d+_\w+)"
)
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")

RedisMode = Literal["none", "private", "given"]


class SettingsError(HubError):
    """Settings that cannot be used; ``problems`` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set.

    ``redis_url`` is None while workers poll; with ``redis_mode`` "private" `hub up` starts a server of its own and
    hands its address to its children. ``secret_keys`` are lines "id:base64 of 32 bytes": the first encrypts, all
    decrypt. ``routes`` leads a vendor's origin to another one (simulators). ``proxies`` is how many reverse proxies
    stand in front, whose X-Forwarded headers are believed; ``trusted_hosts`` are further names the pages answer to.
    ``sandbox``: merchants may try the hub out with simulated shops. ``businesses_per_owner``: how many of them one
    person may own; the first one, which the set-up makes, among them. ``pictures``: the hub keeps those of products.
    ``origins`` tells where each value came from: "default", "environment", "environment file" or "tallyhub.toml".
    """

    data_dir: Path
    database_url: str = field(repr=False)
    secret_keys: tuple[str, ...] = field(repr=False)
    redis_url: str | None = field(default=None, repr=False)
    redis_mode: RedisMode = "none"
    public_url: str | None = None
    routes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    plugins: tuple[str, ...] = ()
    private_networks: tuple[str, ...] = ()
    raw_days: int = 90
    drift_check_minutes: int = 60
    host: str = "127.0.0.1"
    port: int = 8484
    proxies: int = 0
    trusted_hosts: tuple[str, ...] = ()
    workers: int = 2
    web_threads: int = 8
    log_level: str = "info"
    smtp_url: str | None = field(default=None, repr=False)
    mail_from: str | None = None
    security_contact: str | None = None
    sandbox: bool = True
    pictures: bool = True
    businesses_per_owner: int = 10
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)

    @property
    def own_address(self) -> str:
        """Where the pages are reached on this very machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 (what it listens on)
        return f"http://{host}:{self.port}"

    @property
    def sends_mail(self) -> bool:
        """Whether e-mail can be sent: by a server, from an address."""
        return bool(self.smtp_url and self.mail_from)

    @property
    def key_file(self) -> Path:
        """Where the keys live that the hub made itself."""
        return self.data_dir / KEY_FILE_NAME

    def shown(self) -> list[tuple[str, str, str]]:
        """(name, value, origin) of every setting, fit for a screen: no key and no password appears."""
        redis = {"none": "none (workers poll)", "private": "(a private server, started by hub up)"}
        text = {
            "data_dir": str(self.data_dir),
            "database_url": without_password(self.database_url),
            "redis_url": without_password(self.redis_url) if self.redis_url else redis.get(self.redis_mode, ""),
            "secret_keys": ", ".join(f"{key.partition(':')[0]}:…" for key in self.secret_keys) or "(not made yet)",
            "public_url": self.public_url or "(none: shops cannot send webhooks, the hub asks them instead)",
            "routes": ", ".join(f"{origin}={target}" for origin, target in self.routes.items()),
            "plugins": ", ".join(self.plugins),
            "private_networks": ", ".join(self.private_networks),
            "trusted_hosts": ", ".join(self.trusted_hosts),
            "mail_from": self.mail_from or "(none)",
            "security_contact": self.security_contact or "(none)",
            "sandbox": "on" if self.sandbox else "off",
            "pictures": "on" if self.pictures else "off",
            "smtp_url": without_password(self.smtp_url)
            if self.smtp_url
            else "(none: people tell customers themselves)",
        }
        return [
            (name, text.get(name, str(getattr(self, name))), self.origins.get(name, "default")) for name in _SETTINGS
        ]


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a hub that is about to run: makes the data folder and the secret keys on first start.

    Raises SettingsError with every problem found.
    """
    settings = read_settings(environ)
    if settings.secret_keys:
        return settings
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_key_file(settings.key_file)
    except OSError as error:
        raise SettingsError(
            [
                f"The data folder {settings.data_dir} cannot be written: {error.strerror}. Give its owner the right "
                f"to, or name another folder in {PREFIX}DATA_DIR."
            ]
        ) from error
    return read_settings(environ)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings as they are, changing nothing; ``secret_keys`` is empty before the first start.

    Raises SettingsError with every problem found.
    """
    reader = _Reader(environ)
    values = {name: reader.value(name) for name in _SETTINGS}
    reader.refuse_strangers()
    if reader.problems:
        raise SettingsError(list(dict.fromkeys(reader.problems)))
    redis = values.pop("redis_url")
    mode: RedisMode = "private" if redis is None else "none" if redis == "none" else "given"
    return Settings(
        redis_url=redis if mode == "given" else None,
        redis_mode=mode,
        origins=MappingProxyType(reader.origins),
        **values,
    )


def without_password(url: str) -> str:
    """``url`` with its password, if it has one, replaced by ***."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return "***"
    query = re.sub(r"(?i)(?<=password=)[^&]*", "***", parts.query)
    netloc = parts.netloc
    if password is not None:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    if (netloc, query) == (parts.netloc, parts.query):
        return url
    return urlunsplit(parts._replace(netloc=netloc, query=query))


# ---------------------------------------------------------------- reading


class _Reader:
    """Looks each setting up (environment, a file the environment names, tallyhub.toml, default) and notes problems."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []
        self.origins: dict[str, str] = {}
        self.file: dict[str, Any] = {}
        self.data_dir = _default_data_dir(environ)
        self.data_dir = self.value("data_dir")
        self.toml = self.data_dir / TOML_NAME
        self.file = self._read_toml()

    def value(self, name: str) -> Any:
        parse, default = _SETTINGS[name]
        raw, called = self._raw(name)
        if raw is None:
            self.origins[name] = "default"
            raw, called = default(self), str(self.data_dir / KEY_FILE_NAME)  # the one default that is checked
            if name != "secret_keys" or not isinstance(raw, str):
                return raw
        try:
            return parse(raw)
        except ValueError as error:
            self.problems.append(f"{called} {error}")
            return None

    def _raw(self, name: str) -> tuple[Any, str]:
        variable = PREFIX + name.upper()
        inline = self.environ.get(variable, "").strip()
        if _SERVICE_LINK.match(inline) and name == "port":
            inline = ""  # Kubernetes' idea of TALLYHUB_PORT
        path = self.environ.get(f"{variable}_FILE", "").strip()
        if inline and path:
            self.problems.append(f"{variable} and {variable}_FILE are both set: keep one of them.")
        if inline:
            self.origins[name] = "environment"
            return inline, variable
        if path:
            self.origins[name] = "environment file"
            try:
                return Path(path).read_text(encoding="utf-8").strip() or None, f"{variable}_FILE ({path})"
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                self.problems.append(f"{variable}_FILE names {path}, which cannot be read: {reason}.")
                return None, variable
        if name in self.file:
            self.origins[name] = TOML_NAME
            return self.file[name], f"{name} in {self.toml}"
        return None, variable

    def _read_toml(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.toml.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.problems.append(f"{self.toml} cannot be read: {error.strerror}.")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.problems.append(f"{self.toml} is not a TOML file: {error}.")
        return {}

    def refuse_strangers(self) -> None:
        known = {PREFIX + name.upper() + suffix for name in _SETTINGS for suffix in ("", "_FILE")}
        for variable in sorted(self.environ):
            if variable.startswith(PREFIX) and variable not in known and not _FOREIGN.fullmatch(variable):
                if _SERVICE_LINK.match(self.environ[variable]):
                    continue
                self.problems.append(f"{variable} is no setting of Tallyhub.{_nearest(variable, known)}")
        for name in sorted(self.file):
            if name == "data_dir":
                self.problems.append(f"data_dir cannot stand in {self.toml}, which lies in it: set {PREFIX}DATA_DIR.")
            elif name not in _SETTINGS:
                self.problems.append(f"{name} in {self.toml} is no setting of Tallyhub.{_nearest(name, _SETTINGS)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    def bare(each: str) -> str:
        return each.removeprefix(PREFIX).lower()

    names = {bare(each): each for each in sorted(known)}
    close = difflib.get_close_matches(bare(name), names, n=1, cutoff=0.7)
    return f" Did you mean {names[close[0]]}?" if close else ""


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "tallyhub"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ("Library/Application Support/Tallyhub" if sys.platform == "darwin" else ".local/share/tallyhub")


# ---------------------------------------------------------------- checking: ValueError carries the rest of the sentence


def _folder(raw: Any) -> Path:
    return Path(_string(raw)).expanduser().absolute()


def _string(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("must be text.")
    return raw.strip()


def _database_url(raw: Any) -> str:
    url = _string(raw)
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "postgres":
        return f"postgresql://{rest}"
    if separator and scheme in ("postgresql", "postgresql+psycopg"):
        return url
    if separator and scheme == "sqlite":
        if rest.lstrip("/").split("?")[0] in ("", ":memory:"):
            raise ValueError("names a database in memory, which the hub's processes cannot share: name a file.")
        return url
    raise ValueError("must begin with postgresql:// or sqlite:/// (an SQLAlchemy address).")


def _redis_url(raw: Any) -> str:
    url = _string(raw)
    if url == "none" or url.partition("://")[0] in ("redis", "rediss", "unix"):
        return url
    raise ValueError("must begin with redis://, rediss:// or unix://, or be none (workers then poll).")


def _public_url(raw: Any) -> str:
    url = _string(raw).rstrip("/")
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be the address shops reach the hub at, such as https://hub.example.com.")
    return url


def _origin(text: str) -> str:
    parts = _split(text.strip().rstrip("/"))
    known = parts.scheme in ("http", "https", "sftp")
    if not known or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"has {text.strip()!r}, which is not an origin such as https://shop.example.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError("is not an address.") from error
    return parts


def _routes(raw: Any) -> Mapping[str, str]:
    if isinstance(raw, str):
        pairs = [entry.partition("=")[::2] for entry in _words(raw)]
    elif isinstance(raw, dict) and all(isinstance(target, str) for target in raw.values()):
        pairs = list(raw.items())
    else:
        raise ValueError("must be pairs such as https://shop.example=http://127.0.0.1:9000.")
    return MappingProxyType({_origin(origin): _origin(target) for origin, target in pairs})


def _words(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, list) and all(isinstance(word, str) for word in raw):
        raw = " ".join(raw)
    if not isinstance(raw, str):
        raise ValueError("must be text, or a list of texts.")
    return tuple(re.split(r"[\s,]+", raw.strip())) if raw.strip() else ()


def _hosts(raw: Any) -> tuple[str, ...]:
    hosts = tuple(word.lower().rstrip(".") for word in _words(raw))
    for host in hosts:
        if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", host):
            raise ValueError(f"has {host!r}, which is not a host name such as hub.example.com.")
    return hosts


def _networks(raw: Any) -> tuple[str, ...]:
    networks = []
    for word in _words(raw):
        try:
            networks.append(str(ipaddress.ip_network(word)))
        except ValueError as error:
            raise ValueError(f"has {word!r}, which is not a network such as 192.168.1.0/24.") from error
    return tuple(networks)


def _keys(raw: Any) -> tuple[str, ...]:
    keys = _words(raw)
    if not keys:
        raise ValueError("is empty: it must hold at least one key.")
    names = [key.partition(":")[0] for key in keys]
    for name, key in zip(names, keys, strict=True):
        try:
            length = len(base64.b64decode(key.partition(":")[2], validate=True))
        except binascii.Error:
            length = 0
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) or length != 32:
            raise ValueError("must be keys of the form id:base64 of 32 bytes, one per line; one of them is not.")
    if len(set(names)) != len(names):
        raise ValueError("has two keys with the same id.")
    return keys


def _whole(lowest: int, highest: int) -> Callable[[Any], int]:
    def parse(raw: Any) -> int:
        if isinstance(raw, bool) or not re.fullmatch(r"[0-9]{1,9}", str(raw)) or not lowest <= int(raw) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}.")
        return int(raw)

    return parse


def _log_level(raw: Any) -> str:
    level = _string(raw).lower()
    if level not in ("debug", "info", "warning", "error"):
        raise ValueError("must be debug, info, warning or error.")
    return level


def _switch(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if raw not in ("on", "off"):
        raise ValueError("must be on or off.")
    return bool(raw == "on")


def _smtp_url(raw: Any) -> str:
    url = _string(raw)
    parts = _split(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must be the address of a mail server, such as smtp://name:password@mail.example.com:587.")
    return url


def _mail_address(raw: Any) -> str:
    address = _string(raw)
    if not re.fullmatch(r"[^\s@<>,;]+@[^\s@<>,;]+", address):
        raise ValueError("must be an e-mail address, such as shop@example.com.")
    return address


def _contact(raw: Any) -> str:
    contact = _string(raw)
    if re.fullmatch(r"[^\s@<>,;:/]+@[^\s@<>,;]+", contact):
        return f"mailto:{contact}"
    if not re.fullmatch(r"https://[^\s/]+(/\S*)?", contact):
        raise ValueError("must be an e-mail address, or an address that begins with https://.")
    return contact


def _kept_keys(reader: _Reader) -> tuple[str, ...] | str:
    """The keys the hub made on its first start, () before."""
    path = reader.data_dir / KEY_FILE_NAME
    try:
        with path.open(encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                reader.problems.append(
                    f"{path} can be read by others (its mode is {mode:04o}): run chmod 600 on it. If somebody may have "
                    "read it, put a new key on the first line and enter the credentials of every connection again."
                )
            return file.read()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        reader.problems.append(f"{path} cannot be read: {reason}. Without it no stored secret can be used.")
        return ()


# name -> (how to read it, its default: text is read like a given one)
_SETTINGS: dict[str, tuple[Callable[[Any], Any], Callable[[_Reader], Any]]] = {
    "data_dir": (_folder, lambda reader: reader.data_dir),
    "database_url": (_database_url, lambda reader: f"sqlite:///{reader.data_dir / DATABASE_NAME}"),
    "redis_url": (_redis_url, lambda _: None),
    "secret_keys": (_keys, _kept_keys),
    "public_url": (_public_url, lambda _: None),
    "routes": (_routes, lambda _: MappingProxyType({})),
    "plugins": (_words, lambda _: ()),
    "private_networks": (_networks, lambda _: ()),
    "raw_days": (_whole(1, 3650), lambda _: 90),
    "drift_check_minutes": (_whole(1, 10080), lambda _: 60),
    "host": (_string, lambda _: "127.0.0.1"),
    "port": (_whole(1, 65535), lambda _: 8484),
    "proxies": (_whole(0, 10), lambda _: 0),
    "trusted_hosts": (_hosts, lambda _: ()),
    "workers": (_whole(1, 64), lambda _: 2),
    "web_threads": (_whole(1, 256), lambda _: 8),
    "log_level": (_log_level, lambda _: "info"),
    "smtp_url": (_smtp_url, lambda _: None),
    "mail_from": (_mail_address, lambda _: None),
    "security_contact": (_contact, lambda _: None),
    "sandbox": (_switch, lambda _: True),
    "businesses_per_owner": (_whole(1, 10_000), lambda _: 10),
    "pictures": (_switch, lambda _: True),
}


# ---------------------------------------------------------------- the key file


def _make_key_file(path: Path) -> None:
    """Put one new key into ``path``, readable by the owner alone, unless another process was faster."""
    key = f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(32)).decode()}\n"
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        # A link appears whole or not at all, and never replaces a key that another process has begun to use.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()

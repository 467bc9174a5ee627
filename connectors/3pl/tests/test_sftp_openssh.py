"""The connector and the hub's transport against OpenSSH as it is: keys, passwords, the server's key, renaming."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hub
from hub.testing import context_for
from hub_3pl.sftp import SftpConnector
from hub_3pl.simulator_sftp import SftpWarehouse

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen")

pytestmark = pytest.mark.skipif(
    SSHD is None or KEYGEN is None or sys.platform != "linux",
    reason="there is no OpenSSH server here: apt-get install openssh-server",
)


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server: where it is, its key's fingerprint, the folders, and a private key that it lets in."""

    port: int
    fingerprint: str
    root: Path
    private_key: str


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    root = folder / "files"
    for name in ("orders", "cancellations", "acknowledgements", "shipments", "stock", "done"):
        (root / name).mkdir(parents=True)
    for name in ("host", "merchant"):
        run(str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    if getpass.getuser() == "root":
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # without it the server refuses to start as root
    settings = folder / "sshd_config"
    settings.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'merchant.pub'}\nPasswordAuthentication yes\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\nForceCommand internal-sftp\n"
    )
    server = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, server)
        fingerprint = run(str(KEYGEN), "-l", "-f", str(folder / "host.pub")).split()[1]
        yield Sshd(port, fingerprint, root, (folder / "merchant").read_text())
    finally:
        server.terminate()
        server.wait(60)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connected:
                if connected.recv(4) == b"SSH-":
                    return
        except OSError:
            if server.poll() is not None:
                pytest.skip(f"this machine's sshd does not start (it ended with {server.returncode})")
        time.sleep(0.05)
    pytest.fail("sshd did not begin to listen.")


@pytest.fixture(autouse=True)
def _empty(sshd: Sshd) -> None:
    for path in sshd.root.glob("*/*"):
        path.unlink()


def connected(sshd: Sshd, **typed: str) -> SftpConnector:
    host = "files.example"
    folders = {
        f"{name}_folder": f"{sshd.root}/{name}"
        for name in ("orders", "cancellations", "acknowledgements", "shipments", "stock", "done")
    }
    settings = SftpConnector.settings_schema().load(
        {
            "host": host,
            "port": str(sshd.port),
            "user": getpass.getuser(),
            "private_key": sshd.private_key,
            "fingerprint": sshd.fingerprint,
            "arrives": "renamed",
            **folders,
            **typed,
        }
    )
    file_host = SftpConnector.file_host(settings)
    routes = {file_host: f"sftp://127.0.0.1:{sshd.port}"}
    return SftpConnector(context_for(settings, file_host=file_host, routes=routes))


def files_of(connector: SftpConnector) -> hub.Files:
    connector.check()
    assert connector.context.files is not None
    return connector.context.files


def test_a_key_lets_in_and_the_server_is_known_by_its_own(sshd: Sshd) -> None:
    connector = connected(sshd)

    account = connector.check()

    assert account.name == f"{getpass.getuser()} at files.example"
    assert [place.external_id for place in account.locations] == ["warehouse"]
    files_of(connector).close()


def test_another_key_of_the_server_ends_it_before_anything_is_told(sshd: Sshd) -> None:
    with pytest.raises(hub.AuthError, match="another key than the one you entered"):
        connected(sshd, fingerprint="SHA256:" + "B" * 43).check()


def test_the_key_that_is_shown_is_the_one_that_ssh_keygen_tells(sshd: Sshd) -> None:
    with pytest.raises(hub.Rejected) as told:
        connected(sshd, fingerprint="").check()

    assert f"{sshd.fingerprint} (ssh-ed25519)" in str(told.value)


def test_a_wrong_password_and_a_strange_key_are_refused(sshd: Sshd, tmp_path: Path) -> None:
    run(str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "strange"))

    with pytest.raises(hub.AuthError, match="refused the password"):
        connected(sshd, private_key="", password="wrong").check()
    with pytest.raises(hub.AuthError, match="refused the key"):
        connected(sshd, private_key=(tmp_path / "strange").read_text()).check()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_keys_of_each_kind_with_and_without_a_passphrase_are_read(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    """They are read before the server sees them: it refuses them, which it could not if they were not."""
    run(str(KEYGEN), "-q", "-t", kind, "-N", "open sesame", "-f", str(tmp_path / kind))
    locked = (tmp_path / kind).read_text()

    with pytest.raises(hub.AuthError, match="refused the key"):
        connected(sshd, private_key=locked, passphrase="open sesame").check()
    with pytest.raises(hub.AuthError, match="passphrase"):
        connected(sshd, private_key=locked).check()


def test_renaming_overwrites_nothing_even_where_the_look_before_it_saw_nothing(sshd: Sshd) -> None:
    connector = connected(sshd)
    files = files_of(connector)
    orders = sshd.root / "orders"
    files.write(f"{orders}/T-1.csv", b"first")
    files.write(f"{orders}/T-2.csv", b"second")

    with pytest.raises(hub.Rejected) as refused:
        files.move(f"{orders}/T-2.csv", f"{orders}/T-1.csv")
    with pytest.raises(hub.Unavailable):
        files.request("RENAME", f"{orders}/T-2.csv", to=f"{orders}/T-1.csv")

    assert refused.value.code == "exists"
    assert {path.name: path.read_bytes() for path in orders.iterdir()} == {"T-1.csv": b"first", "T-2.csv": b"second"}
    files.close()


def test_what_is_not_there_and_what_is_not_permitted_are_told_apart(sshd: Sshd) -> None:
    connector = connected(sshd)
    files = files_of(connector)

    with pytest.raises(hub.NotFound):
        files.list(f"{sshd.root}/nowhere")
    with pytest.raises(hub.NotFound):
        files.read(f"{sshd.root}/orders/none.csv")
    if getpass.getuser() != "root":
        (sshd.root / "orders" / "locked.csv").touch(mode=0)
        with pytest.raises(hub.AuthError, match="does not permit"):
            files.read(f"{sshd.root}/orders/locked.csv")
    files.close()


def test_an_order_goes_out_and_a_shipment_comes_in(sshd: Sshd) -> None:
    connector = connected(sshd)
    with SftpWarehouse() as example:
        order = example.example("T-1", {"MUG": 2})

    submission = connector.submit(order, "key")
    assert connector.submit(order, "key") == submission == connector.find_submit(order, "key")
    assert [path.name for path in (sshd.root / "orders").iterdir()] == ["T-1.csv"]
    taken = (sshd.root / "orders" / "T-1.csv").read_text()
    (sshd.root / "orders" / "T-1.csv").unlink()  # the 3PL takes it away
    assert connector.find_submit(order, "key") == submission
    assert "T-1,#T-1,2026-03-02T09:30:00Z,standard" in taken

    half = sshd.root / "shipments" / "s.csv.part"
    half.write_bytes(b"shipment_id,order_reference,sku,quantity,tracking_number\r\nS-1,T-1,MUG,2,TR1\r\n")
    (page,) = connector.fetch_shipments(None)
    assert page.records == ()
    half.rename(sshd.root / "shipments" / "s.csv")
    (page,) = connector.fetch_shipments(page.cursor)
    (shipment,) = connector.read_shipments(page.records[0])
    assert (shipment.external_id, shipment.reference, shipment.tracking_numbers) == ("S-1", "T-1", ("TR1",))
    list(connector.fetch_shipments(page.cursor))

    assert list((sshd.root / "shipments").iterdir()) == []
    assert (sshd.root / "done" / "s.csv").exists()
    files_of(connector).close()


def test_a_file_of_several_chunks_comes_whole(sshd: Sshd) -> None:
    rows = b"".join(b"S-%06d,%d,%060d\n" % (n, n % 100, n) for n in range(20_000))
    (sshd.root / "stock" / "a.csv").write_bytes(b"sku,on_hand,shelf\n" + rows)
    connector = connected(sshd)

    pages = connector.fetch_stock(None)
    last = [record.external_id for page in pages for record in page.records][-1]

    assert last == "S-019999"
    files_of(connector).close()

"""The process tree: children that die come back, a stop leaves nobody behind, and neither does a killed supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis

from hub.config import load_settings
from hub.errors import HubError
from hub.processes import (
    AlreadyRunning,
    PrivateRedis,
    Program,
    Supervisor,
    find_redis_server,
    only_one,
    upgrade_database,
    wait_for_port,
)
from hub.store import migrate
from hub.store.backup import verify

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
Eventually = Callable[..., None]

# A child that says its pid, and goes when it is told to.
OBEDIENT = "import os, signal, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); signal.pause()"
# One that does not listen, and has started somebody in a process group of their own, as a worker's drain is.
STUBBORN = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
open(sys.argv[1], "a").write(f"{os.getpid()}\\n{helper.pid}\\n")
while True:
    signal.pause()
"""


class Tree:
    """A supervisor at work in a thread, and what it said."""

    def __init__(self, programs: Sequence[Program], output: Path | None = None) -> None:
        self.said: list[str] = []
        self.supervisor = Supervisor(programs, self.said.append, output=output)
        self.thread = threading.Thread(target=self.supervisor.run)
        self.thread.start()

    def stop(self) -> None:
        self.supervisor.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def tree() -> Iterator[Callable[..., Tree]]:
    trees: list[Tree] = []

    def start(*programs: Program, output: Path | None = None) -> Tree:
        trees.append(Tree(programs, output))
        return trees[-1]

    yield start
    for each in trees:
        each.supervisor.stop()
        each.stop()


def program(name: str, code: str, *arguments: object) -> Program:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return Program(name=name, command=command, environ=dict(os.environ))


def pids_in(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):  # a zombie is as good as gone
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def test_a_child_that_is_killed_is_started_again(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually
) -> None:
    running = tree(program("worker 1", OBEDIENT, tmp_path / "pids"))
    eventually(lambda: len(pids_in(tmp_path / "pids")) == 1)
    (first,) = pids_in(tmp_path / "pids")
    assert running.supervisor.pids() == {"worker 1": first}

    os.kill(first, signal.SIGKILL)

    eventually(lambda: len(pids_in(tmp_path / "pids")) == 2)
    second = pids_in(tmp_path / "pids")[1]
    eventually(lambda: running.supervisor.pids() == {"worker 1": second})
    assert running.said == ["worker 1 ended (killed by SIGKILL). Starting it again in 0.25 s."]
    assert running.supervisor.restarts() == 1


def test_a_child_that_cannot_run_is_tried_ever_more_seldom(tree: Callable[..., Tree], eventually: Eventually) -> None:
    running = tree(program("web", "raise SystemExit(3)"))

    eventually(lambda: len(running.said) == 3)

    assert running.said == [
        f"web ended (exit code 3). Starting it again in {pause} s." for pause in ("0.25", "0.5", "1")
    ]


def test_one_childs_death_leaves_the_others_alone(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually
) -> None:
    running = tree(program("a", OBEDIENT, tmp_path / "a"), program("b", OBEDIENT, tmp_path / "b"))
    eventually(lambda: pids_in(tmp_path / "a") and pids_in(tmp_path / "b"))

    os.kill(pids_in(tmp_path / "a")[0], signal.SIGKILL)
    eventually(lambda: len(pids_in(tmp_path / "a")) == 2)

    assert len(pids_in(tmp_path / "b")) == 1
    assert alive(pids_in(tmp_path / "b")[0])
    assert len(running.said) == 1


def test_a_stop_leaves_no_process(tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually) -> None:
    running = tree(program("a", OBEDIENT, tmp_path / "a"), program("b", OBEDIENT, tmp_path / "b"))
    eventually(lambda: pids_in(tmp_path / "a") and pids_in(tmp_path / "b"))

    running.stop()

    assert [alive(pid) for pid in (*pids_in(tmp_path / "a"), *pids_in(tmp_path / "b"))] == [False, False]
    assert running.said == []


@linux
def test_a_child_that_will_not_stop_is_killed_with_everything_it_started(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.processes.STOP_SECONDS", 0.5)
    running = tree(program("worker 1", STUBBORN, tmp_path / "pids"))
    eventually(lambda: len(pids_in(tmp_path / "pids")) == 2)

    running.stop()

    eventually(lambda: not any(map(alive, pids_in(tmp_path / "pids"))))
    assert running.said == ["worker 1 did not stop in time and was killed. Its work is taken up again later."]


@linux
def test_what_a_killed_child_started_does_not_outlive_it(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.processes.STOP_SECONDS", 0.5)
    tree(program("worker 1", STUBBORN, tmp_path / "pids"))
    eventually(lambda: len(pids_in(tmp_path / "pids")) == 2)
    worker, drain = pids_in(tmp_path / "pids")

    os.kill(worker, signal.SIGKILL)

    eventually(lambda: not alive(drain))


def test_asking_twice_does_not_wait(tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually) -> None:
    running = tree(program("worker 1", STUBBORN, tmp_path / "pids"))
    eventually(lambda: len(pids_in(tmp_path / "pids")) == 2)

    running.supervisor.stop()
    time.sleep(0.3)
    assert alive(pids_in(tmp_path / "pids")[0])
    began = time.monotonic()
    running.stop()

    assert time.monotonic() - began < 20
    assert not alive(pids_in(tmp_path / "pids")[0])


@linux
def test_a_killed_supervisor_leaves_nobody_behind(tmp_path: Path, eventually: Eventually) -> None:
    code = f"""
import os, sys
from hub.processes import Program, Supervisor
child = [sys.executable, "-c", {OBEDIENT!r}, {str(tmp_path / "pids")!r}]
Supervisor([Program(name="a", command=child, environ=dict(os.environ))], print).run()
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    eventually(lambda: pids_in(tmp_path / "pids"))

    supervisor.kill()
    supervisor.wait()

    eventually(lambda: not alive(pids_in(tmp_path / "pids")[0]))


def test_whoever_serves_the_others_starts_first_and_stops_last(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually
) -> None:
    diary = tmp_path / "diary"
    code = """
import signal, sys, time
name, diary, pause = sys.argv[1:]
def write(word):
    with open(diary, "a") as file:
        file.write(f"{name} {word}\\n")
def stop(*_):
    write("stops")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
time.sleep(float(pause))
write("runs")
while True:
    signal.pause()
"""
    served = Program(
        name="redis",
        command=[sys.executable, "-c", code, "redis", str(diary), "0.3"],
        environ=dict(os.environ),
        serves=lambda: diary.exists(),
    )
    running = tree(program("web", code, "web", diary, 0), served)
    eventually(lambda: diary.exists() and len(diary.read_text().splitlines()) == 2)

    running.stop()

    assert diary.read_text().splitlines() == ["redis runs", "web runs", "web stops", "redis stops"]


def test_what_children_print_can_go_to_a_file(
    tree: Callable[..., Tree], tmp_path: Path, eventually: Eventually
) -> None:
    log = tmp_path / "hub.log"
    tree(program("a", "import sys; print('out'); print('err', file=sys.stderr)"), output=log)

    eventually(lambda: log.exists() and {"out", "err"} <= set(log.read_text().split()))


# ---------------------------------------------------------------- one tree per folder, one server per port


def test_a_second_tree_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    sentence = rf"runs already on {tmp_path} \(process {os.getpid()}\)"
    with only_one(tmp_path), pytest.raises(AlreadyRunning, match=sentence), only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_lock_held_by_a_killed_process_is_free(tmp_path: Path, eventually: Eventually) -> None:
    code = f"""
import time
from pathlib import Path
from hub.processes import only_one
with only_one(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning), only_one(tmp_path):
            pass
        holder.kill()
        holder.wait()

    with only_one(tmp_path):
        pass


def test_a_taken_port_is_named_with_the_way_out() -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HubError, match=rf"Port {port} on 127\.0\.0\.1 is taken by another program\. .*--port"):
            wait_for_port("127.0.0.1", port, seconds=0.2)

    wait_for_port("127.0.0.1", port, seconds=0.2)


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(HubError, match=r"cannot listen on 192\.0\.2\.1:8484"):
        wait_for_port("192.0.2.1", 8484)


# ---------------------------------------------------------------- the private Redis


@pytest.fixture
def binary() -> Path:
    found = find_redis_server()
    if found is None:
        pytest.skip("there is no Redis-compatible server here")
    return found


def client(server: PrivateRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def test_the_private_redis_is_for_the_owner_alone_and_keeps_what_it_has(
    tree: Callable[..., Tree], binary: Path, tmp_path: Path, eventually: Eventually
) -> None:
    server = PrivateRedis(binary, tmp_path)
    server.prepare()
    running = tree(server.program(os.environ))
    eventually(server.answers)

    assert server.socket.stat().st_mode & 0o777 == 0o600
    assert server.folder.stat().st_mode & 0o777 == 0o700
    with client(server) as connection:
        settings = connection.config_get("*")
        assert (settings["appendonly"], settings["maxmemory-policy"], settings["port"]) == ("yes", "noeviction", "0")
        connection.set("kept", "yes")
    running.stop()
    assert not server.answers()

    again = PrivateRedis(binary, tmp_path)
    again.prepare()
    tree(again.program(os.environ))
    eventually(again.answers)
    with client(again) as connection:
        assert connection.get("kept") == b"yes"


def test_a_server_that_a_killed_hub_left_behind_is_ended_first(
    binary: Path, tmp_path: Path, eventually: Eventually
) -> None:
    left = PrivateRedis(binary, tmp_path)
    left.prepare()
    orphan = subprocess.Popen(left.program(os.environ).command, stdout=subprocess.DEVNULL)
    eventually(left.answers)

    PrivateRedis(binary, tmp_path).prepare()

    orphan.wait(60)
    assert not left.socket.exists()


def test_a_long_folder_name_does_not_make_the_socket_impossible(
    tree: Callable[..., Tree], binary: Path, tmp_path: Path, eventually: Eventually
) -> None:
    server = PrivateRedis(binary, tmp_path / ("long" * 20) / ("longer" * 10))
    server.prepare()
    running = tree(server.program(os.environ))

    eventually(server.answers)
    assert len(str(server.socket)) < 100
    assert server.socket.parent.stat().st_mode & 0o777 == 0o700
    assert (server.folder / "appendonlydir").is_dir()
    running.stop()
    server.socket.parent.rmdir()


def test_a_redis_that_dies_is_started_again_on_the_same_socket(
    tree: Callable[..., Tree], binary: Path, tmp_path: Path, eventually: Eventually
) -> None:
    server = PrivateRedis(binary, tmp_path)
    server.prepare()
    running = tree(server.program(os.environ))
    eventually(server.answers)

    os.kill(running.supervisor.pids()["redis"], signal.SIGKILL)

    eventually(lambda: running.supervisor.restarts() == 1 and server.answers())


def test_a_server_on_the_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: Path) -> None:
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_redis_server() == tmp_path / "valkey-server"
    (tmp_path / "valkey-server").unlink()
    assert find_redis_server() == tmp_path / "redis-server"


# ---------------------------------------------------------------- the database before the first child


def test_a_database_with_data_is_backed_up_before_it_is_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({"TALLYHUB_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    said: list[str] = []
    upgrade_database(settings, said.append, lambda *_: None)
    assert said == [], "an empty database needs no backup"

    found: list[list[Path]] = []
    monkeypatch.setattr(migrate, "is_current", lambda database: False)
    monkeypatch.setattr(migrate, "upgrade", lambda database: found.append(list((tmp_path / "backups").iterdir())))
    upgrade_database(settings, said.append, lambda *_: None)

    ((path,),) = found
    assert said == [f"Backup before the upgrade: {path}"]
    assert verify(path).schema == "0001"


def test_an_upgrade_does_not_begin_when_its_backup_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"TALLYHUB_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    upgrade_database(settings, print, lambda *_: None)
    (tmp_path / "backups").write_text("a file stands where the folder should be")
    monkeypatch.setattr(migrate, "is_current", lambda database: False)
    monkeypatch.setattr(migrate, "upgrade", lambda database: pytest.fail("upgraded without a backup"))

    with pytest.raises(HubError, match=r"The backup cannot be written to .*\. No backup was made\."):
        upgrade_database(settings, print, lambda *_: None)

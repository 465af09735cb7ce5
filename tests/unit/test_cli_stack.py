"""The parts of the embedded stack: lock, ports, secrets, restarts, and the warden that ends what is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medjobs.failing import Trouble
from medjobs.stack import child as child_module
from medjobs.stack import ports, warden
from medjobs.stack.child import Child
from medjobs.stack.home import SOCKET_LIMIT, Home, write_secret

SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


def until(reached: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)


def in_a_group(code: str) -> subprocess.Popen[str]:
    """A program in a group of its own, once it has said that it is ready."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def child(tmp_path: Path, code: str) -> Child:
    return Child("part", [sys.executable, "-c", code], os.environ, tmp_path, tmp_path / "part.log")


def test_a_second_stack_on_one_home_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    held = home.lock()
    with pytest.raises(Trouble) as refused:
        Home(tmp_path).lock()
    assert f"pid {os.getpid()}" in refused.value.message
    assert "MEDJOBS_HOME=DIR" in refused.value.remedy
    os.close(held)
    os.close(home.lock())


def test_the_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.prepare()
    assert home.path.stat().st_mode & 0o077 == 0
    write_secret(home.token, "secret")
    assert home.token.stat().st_mode & 0o777 == 0o600
    assert home.token.read_text() == "secret\n"


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="cannot be used"):
        Home(tmp_path / "file" / "home").prepare()


def test_the_socket_of_a_deep_home_lies_where_its_path_is_short_enough(tmp_path: Path) -> None:
    assert Home(Path("/h")).redis_socket == Path("/h/redis.sock")
    deep = Home(tmp_path.joinpath(*["a-long-name"] * 9))
    deep.prepare()
    path = deep.redis_socket
    assert len(os.fsencode(path)) <= SOCKET_LIMIT
    assert path != Home(deep.path / "other").redis_socket
    assert path.parent.stat().st_mode & 0o077 == 0
    path.parent.chmod(0o755)
    with pytest.raises(Trouble, match="belongs to somebody else"):
        deep.prepare()
    path.parent.rmdir()


def test_a_taken_port_is_named_with_its_holder_and_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Trouble) as refused:
            ports.require("127.0.0.1", port, "--port")
    assert f"Port {port} is taken by pid {os.getpid()} (" in refused.value.message
    assert f"--port {port + 1}" in refused.value.remedy
    assert ports.require("127.0.0.1", port, "--port") == port
    assert ports.require("127.0.0.1", 0, "--port") > 0


def test_an_address_that_is_not_ours_is_refused_with_a_remedy() -> None:
    with pytest.raises(Trouble, match=r"Nothing can listen on 203\.0\.113\.1"):
        ports.require("203.0.113.1", 8000, "--port")


def test_a_dead_child_is_noticed_once_and_due_again_after_a_pause(tmp_path: Path) -> None:
    part = child(tmp_path, "raise SystemExit(3)")
    part.start()
    until(lambda: part.died() == "exit code 3")
    assert part.died() is None
    assert part.pid == 0
    assert part.restart_at is not None
    first = part.restart_at - time.monotonic()
    part.start()
    until(part.died)
    assert part.restart_at - time.monotonic() > first, "the pause grows"
    assert part.deaths == 2


def test_a_log_is_kept_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_LIMIT", 100)
    part = child(tmp_path, "")
    part.log.write_text("old line\n" * 20 + "last\n")
    assert part.tail(2) == ["old line", "last"]
    part.rotate()
    assert part.log.read_text() == ""
    assert part.log.with_name("part.log.1").read_text().endswith("last\n")


def test_ending_reaches_the_grandchildren_and_kills_who_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a program that listens to SIGTERM, and one that does not and has a child of its own
    monkeypatch.setattr(warden, "GRACE_S", (0.5, 0.5))
    polite = in_a_group(SLEEPER)
    spawn = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DEAF!r}]); import time; time.sleep(60)"
    deaf = in_a_group(spawn)

    def reap() -> None:
        polite.poll()
        deaf.poll()

    # When both are ended
    started = time.monotonic()
    killed = warden.end([[polite.pid, deaf.pid], []], reap)
    # Then the one that did not go was killed with its child, in the time given
    assert killed == [deaf.pid]
    assert time.monotonic() - started < 3
    assert polite.wait(5) == -signal.SIGTERM
    deaf.wait(5)
    until(lambda: not _living(deaf.pid))


def test_the_warden_ends_what_a_killed_stack_left(tmp_path: Path) -> None:
    # Given a stack's process that has started a program, told the warden, and is killed with -9
    program = (
        "import subprocess, sys, time\n"
        f"warden = subprocess.Popen([sys.executable, '-I', '-S', {warden.__file__!r}], stdin=subprocess.PIPE,\n"
        "    text=True, start_new_session=True)\n"
        f"part = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True, stdout=2)\n"
        "warden.stdin.write(f'+ 0 {part.pid}\\n'); warden.stdin.flush()\n"
        "print(part.pid, flush=True); time.sleep(60)\n"
    )
    stack = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert stack.stdout is not None
    part = int(stack.stdout.readline())
    assert _living(part)
    stack.kill()
    stack.wait()
    stack.stdout.close()
    # Then the program ends too
    until(lambda: not _living(part))


def _living(group: int) -> bool:
    """Whether a process of the group is left that is more than a zombie (nobody may collect an orphan's here)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False

"""Stores on real servers: S3's API, OpenSSH, PostgreSQL, a folder that knows no locks, and a network that breaks in mid-sync.

What a machine lacks is skipped with a word; ``.ci/run`` has all of it (WHICHGPU_EVERY_STORE=1 makes a skip a failure).
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import Result
from tests.findings import at
from tests.test_catalog_sharing import everything, inspected
from whichgpu.catalog import bundles
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import note_finding
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import FileStore
from whichgpu.trial.launch import free_port
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]
_EVERY = os.environ.get("WHICHGPU_EVERY_STORE") == "1"


def lacking(what: str) -> None:
    """Skip with a word, or fail where all must be there."""
    if _EVERY:
        pytest.fail(f"{what} is missing, and WHICHGPU_EVERY_STORE=1 wants it")
    pytest.skip(f"{what} is not installed here")


def needs_modules(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            lacking(name)


def program(name: str, *folders: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    if path is None:
        lacking(name)
    return str(path)


@contextmanager
def running(words: list[str], port: int, host: str = "127.0.0.1") -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                break
            assert server.poll() is None, words
            time.sleep(0.1)
        yield server
    finally:
        server.terminate()
        server.wait()


def shared_by_two(target: str, ask: Ask, tmp_path: Path) -> None:
    """Ada and Bob find something each, and have the same afterwards; a second sync moves nothing."""
    ada, bob = Catalog(tmp_path / "ada.db"), Catalog(tmp_path / "bob.db")
    ada.add(inspected("Qwen/Qwen3-8B"), note_finding("Qwen/Qwen3-8B", "of Ada", at(3)))
    bob.add(inspected("openai/gpt-oss-20b"), note_finding("Qwen/Qwen3-8B", "of Bob", at(4, "bob")))
    for catalog in (ada, bob, ada):
        result = ask("catalog", "sync", target, "--catalog", str(catalog.path))
        assert result.code == ExitCode.OK, result
    assert everything(ada.path) == everything(bob.path)
    again = ask("catalog", "sync", target, "--catalog", str(bob.path))
    assert (again.code, "0 new findings from 0 new bundles" in again.out) == (ExitCode.OK, True)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    needs_modules("moto", "s3fs", "flask")
    port = free_port()
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "ada"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield f"http://127.0.0.1:{port}"


def count_of(catalog: Catalog) -> int:
    """Of a file that another process is about to make."""
    with suppress(CatalogError):
        return catalog.count() if catalog.path.exists() else 0
    return 0


def make_bucket(name: str) -> None:
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)


class TestS3:
    def test_a_bucket_is_shared(self, s3: str, ask: Ask, tmp_path: Path) -> None:
        make_bucket("team")
        shared_by_two("s3://team/whichgpu", ask, tmp_path)

    def test_no_such_bucket_is_one_sentence(self, s3: str, ask: Ask, tmp_path: Path) -> None:
        Catalog(tmp_path / "ada.db").add(inspected("Qwen/Qwen3-8B"))
        result = ask("catalog", "push", "s3://nobodys/x", "--catalog", str(tmp_path / "ada.db"))
        assert result.code == ExitCode.SYSTEM
        assert "s3://nobodys/x cannot be used" in result.err

    def test_a_server_that_is_not_there(
        self, s3: str, ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        begun = time.monotonic()
        result = ask("catalog", "pull", "s3://team/whichgpu", "--catalog", str(tmp_path / "ada.db"))
        assert (result.code, "cannot be used" in result.err) == (ExitCode.SYSTEM, True)
        assert time.monotonic() - begun < 60, "it gives up in time"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    needs_modules("paramiko")
    sshd, keygen = program("sshd", "/usr/sbin"), program("ssh-keygen")
    home, port = tmp_path / "home", free_port()
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for path in (tmp_path / "host_key", home / ".ssh" / "id_ed25519"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    allowed = tmp_path / "allowed"
    shutil.copy(home / ".ssh" / "id_ed25519.pub", allowed)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host_key", "AuthorizedKeysFile": allowed, "StrictModes": "no",
        "PidFile": "none", "UsePAM": "no", "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password",
        "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    config = tmp_path / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in options.items()))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with running([sshd, "-D", "-f", str(config)], port):
        yield f"{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{port}"


class TestSsh:
    def test_a_folder_behind_it_is_shared(self, ssh: str, ask: Ask, tmp_path: Path) -> None:
        shared_by_two(f"ssh://{ssh}{tmp_path}/team", ask, tmp_path)
        assert len(list((tmp_path / "team" / "bundles").iterdir())) == 2

    def test_a_key_that_is_not_taken(self, ssh: str, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "allowed").write_text("")
        result = ask("catalog", "pull", f"ssh://{ssh}{tmp_path}/team", "--catalog", str(tmp_path / "ada.db"))
        assert (result.code, "cannot be" in result.err) == (ExitCode.SYSTEM, True), result


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs_modules("psycopg", "sqlalchemy")
    versions = sorted(str(p) for p in Path("/usr/lib/postgresql").glob("*/bin"))
    initdb, server = program("initdb", *versions), program("postgres", *versions)
    folder, port = Path("/tmp") / f"whichgpu-pg-{os.getpid()}-{free_port()}", free_port()
    folder.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        as_user = [program("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        os.chown(folder, 65534, 65534)
    try:
        init = [*as_user, initdb, "-D", str(folder / "data"), "-U", "ada", "--auth=trust", "--no-sync"]
        subprocess.run(init, check=True, capture_output=True, env={**os.environ, "HOME": str(folder)})
        words = [*as_user, server, "-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        with running(words, port):
            yield f"postgresql+psycopg://ada@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class TestPostgres:
    def test_an_export_is_there_and_replaced(self, postgres: str, ask: Ask, tmp_path: Path) -> None:
        import psycopg

        path = tmp_path / "ada.db"
        for second, text in enumerate(("first", "second 12 €")):
            Catalog(path).add(inspected("Qwen/Qwen3-8B"), note_finding("Qwen/Qwen3-8B", text, at(second)))
            result = ask("catalog", "export", postgres, "--catalog", str(path))
            assert result.code == ExitCode.OK, result
        with psycopg.connect(postgres.replace("+psycopg", "")) as connection:
            rows = connection.execute("SELECT model, parameters FROM whichgpu_inspections").fetchall()
            assert rows == [("Qwen/Qwen3-8B", 8_190_735_360)]
            assert connection.execute("SELECT text FROM whichgpu_notes ORDER BY at").fetchall() == [
                ("first",),
                ("second 12 €",),
            ]

    def test_a_database_that_is_not_there(self, postgres: str, ask: Ask, tmp_path: Path) -> None:
        Catalog(tmp_path / "ada.db").add(inspected("Qwen/Qwen3-8B"))
        result = ask("catalog", "export", f"{postgres}x", "--catalog", str(tmp_path / "ada.db"))
        assert (result.code, len(result.err.splitlines())) == (ExitCode.SYSTEM, 1), result


_WITHOUT_LOCKS = """
import errno, sys
def refuse(event, arguments):
    if event in ("fcntl.flock", "fcntl.lockf", "fcntl.fcntl"):
        raise OSError(errno.ENOLCK, "No locks available")
sys.addaudithook(refuse)
from whichgpu.tui.cli.tree import run
sys.exit(run(["catalog", "sync", sys.argv[1], "--catalog", sys.argv[2]]))
"""


def test_a_folder_that_knows_no_locks(tmp_path: Path) -> None:
    """Six machines at once on a drive that gives no lock to anybody: nothing is lost, nothing is half."""
    team, catalogs = tmp_path / "team", [Catalog(tmp_path / f"{number}.db") for number in range(6)]
    for number, catalog in enumerate(catalogs):
        catalog.add(inspected("Qwen/Qwen3-8B"), note_finding(f"a/{number}", "words", at(number)))
    for _ in range(2):
        words = [[sys.executable, "-c", _WITHOUT_LOCKS, str(team), str(c.path)] for c in catalogs]
        machines = [subprocess.Popen(w, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for w in words]
        assert [m.communicate()[1] for m in machines] == [b""] * 6
    assert all(everything(c.path) == everything(catalogs[0].path) for c in catalogs)
    assert {p.name for p in team.iterdir()} == {"manifest.json", "bundles"}
    assert not [p for p in (team / "bundles").iterdir() if p.name.startswith(".")]


@pytest.fixture
def link() -> Iterator[Callable[[str], None]]:
    """Another machine: a network namespace behind a pair of interfaces; called with up or down."""
    if os.geteuid() != 0:
        lacking("root, for network namespaces,")
    ip = program("ip", "/usr/sbin", "/sbin")
    name = f"wg{os.getpid() % 10_000}"

    def set_(*words: str) -> None:
        subprocess.run([ip, *words], check=True, capture_output=True)

    if subprocess.run([ip, "netns", "add", name], check=False, capture_output=True).returncode:
        lacking("the right to make network namespaces")
    try:
        set_("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        set_("link", "set", f"{name}b", "netns", name)
        set_("addr", "add", "10.213.7.1/30", "dev", f"{name}a")
        set_("link", "set", f"{name}a", "up")
        for words in (("addr", "add", "10.213.7.2/30", "dev", f"{name}b"), ("link", "set", f"{name}b", "up")):
            set_("netns", "exec", name, ip, *words)
        yield lambda way: set_("link", "set", f"{name}a", way)
    finally:
        subprocess.run([ip, "netns", "del", name], check=False, capture_output=True)
        subprocess.run([ip, "link", "del", f"{name}a"], check=False, capture_output=True)


def test_two_machines_lose_each_other_in_mid_sync(
    s3: str, link: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came before stays; it ends in one sentence, in time; the next sync brings the rest."""
    ip, name, port = program("ip", "/usr/sbin", "/sbin"), f"wg{os.getpid() % 10_000}", free_port()
    there = [ip, "netns", "exec", name, sys.executable, "-m", "moto.server", "-H", "10.213.7.2", "-p", str(port)]
    with running(there, port, "10.213.7.2"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://10.213.7.2:{port}")
        make_bucket("team")
        store = FileStore("s3://team/whichgpu")
        store.add(
            {
                k: v
                for n in range(250)
                for k, v in bundles.packed([note_finding(f"a/{n}", "x", at(n % 60))], at(0)).items()
            }
        )
        mine = Catalog(tmp_path / "mine.db")
        words = [sys.executable, "-m", "whichgpu", "catalog", "sync", "s3://team/whichgpu", "--catalog", str(mine.path)]
        client = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while count_of(mine) < 5:
            assert client.poll() is None, client.communicate()
            time.sleep(0.01)
        link("down")
        begun = time.monotonic()
        _, err = client.communicate()
        assert client.returncode == ExitCode.SYSTEM, err
        assert err.count(b"\n") == 1
        assert b"s3://team/whichgpu cannot be used" in err
        assert time.monotonic() - begun < 150, "it gives up in time"
        assert 0 < mine.count() < 250
        link("up")
        assert subprocess.run(words, check=False, capture_output=True).returncode == ExitCode.OK
        assert mine.count() == 250

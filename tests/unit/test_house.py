"""The house's own plumbing: layers, standing alone, forbidden words, tools, the guard around tests, reproduction."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import network
from tests.support import tools as peers
from tests.support.tools import ROOT
from tools import check_words, docs, fetch_tools, reproduce

# ---- what the far side needs

ALLOWED_BY_KIT = ("cryptography", "backports", "msgspec")

STAND_ALONE = """
import importlib, pkgutil, sys

allowed = {allowed!r}
class OnlyAllowed:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        importer = sys._getframe(1)
        while importer and "importlib" in importer.f_globals.get("__name__", "importlib"):
            importer = importer.f_back
        by_us = importer is not None and importer.f_globals.get("__name__", "").startswith("stellaops")
        if by_us and top not in sys.stdlib_module_names and top not in (*allowed, "stellaops"):
            raise ImportError(f"{{importer.f_globals['__name__']}} imports {{name}}")
        return None
sys.meta_path.insert(0, OnlyAllowed())
import stellaops.kit
for module in pkgutil.walk_packages(stellaops.kit.__path__, "stellaops.kit."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("stellaops.")]))
"""


def test_the_verifier_imports_no_library_beyond_its_three() -> None:
    program = STAND_ALONE.format(allowed=ALLOWED_BY_KIT)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1


# ---- forbidden words


def wrong_in(text: str, name: str = "src/module.py", checkout: str = "/srv/build/checkout") -> list[str]:
    return list(check_words.in_text(name, text.encode(), Path(checkout)))


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN " + "PRIVATE KEY-----\n" + "A" * 64,
        "-----BEGIN EC " + "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + "b" * 64,
        "AGE-SECRET-" + "KEY-1" + "Q" * 58,
        "AK" + "IA" + "ABCDEFGHIJKLMNOP",
        "gh" + "p_" + "a" * 36,
        "stel" + "la_" + "a" * 43,
    ],
)
def test_a_secret_is_found(text: str) -> None:
    assert wrong_in(f"first line\n{text}\n") == [wrong_in(f"\n{text}")[0]]
    assert wrong_in(f"first line\n{text}\n")[0].startswith("2: ")
    assert wrong_in(text, name="tests/data/upstream.json")


def test_a_path_of_a_home_or_of_the_checkout_and_a_registry_host_are_found() -> None:
    assert wrong_in("see /ho" + "me/alice/work") == ["1: a path in somebody's home"]
    assert wrong_in("see /ro" + "ot/x") == ["1: a path in somebody's home"]
    assert wrong_in("\n\n/srv/build/checkout/src") == ["3: the path of this checkout"]
    assert wrong_in("https://py" + "pi.org/simple") == ["1: a package registry's host"]


def test_code_that_reads_keys_and_ordinary_paths_is_no_finding() -> None:
    assert wrong_in('HEADER = b"-----BEGIN ' + 'PRIVATE KEY-----"\nimport base64\n') == []
    assert wrong_in("mount ${ROOT}/root/cache and src/home/page and /opt/stellaops/mirror-data") == []


def test_requirements_without_a_hash_or_with_an_index_are_found() -> None:
    good = f"click==8.0 ; python_version < '4' \\\n    --hash=sha256:{'0' * 64}\n"
    assert list(check_words.in_requirements(good.encode())) == []
    assert list(check_words.in_requirements(b"click==8.0\n")) == ["not pinned with a hash: click==8.0"]
    assert list(check_words.in_requirements(f"click>=8 --hash=sha256:{'0' * 64}".encode()))
    assert list(check_words.in_requirements(b"--index-url https://example.org\n"))


def test_the_repository_has_none_of_it() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert list(check_words.problems(ROOT)) == []


def test_every_library_of_the_product_is_pinned() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    names = {
        re.split(r"[<>=;\[ ]", item)[0].lower().replace(".", "-")
        for item in settings["project"]["dependencies"]
    }
    assert names
    assert names <= set(re.findall(r"^([a-z0-9-]+)==", pinned, flags=re.MULTILINE))
    for line in re.findall(r"^\S+==\S+", pinned, flags=re.MULTILINE):
        assert line in (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")


# ---- peers' programs

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
# another
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://other.example
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: https://off.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://off.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [ arch=amd64 signed-by=/etc/apt/key.gpg ] http://mirror.example/debian bookworm main contrib # why
"""
BOOKWORM = 'ID=debian\nVERSION_CODENAME="bookworm"\n'


@pytest.mark.parametrize(("name", "text"), [("debian.sources", DEB822), ("debian.list", ONE_LINE)])
def test_the_mirror_that_the_machine_is_configured_for_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text, encoding="utf-8")
    source, suite = fetch_tools.debian_source(tmp_path, BOOKWORM)
    assert source.uris == ("http://mirror.example/debian",)
    assert suite == "bookworm"
    written = fetch_tools.source_file(source, ["sid"]).splitlines()
    assert written[:4] == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: sid",
        "Components: main",
    ]
    assert written[4].startswith("signed-by: /")
    assert len(written) == 5


def test_another_system_or_a_machine_without_sources_is_told_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(fetch_tools.Unavailable, match="does not run Debian"):
        fetch_tools.debian_source(tmp_path, "ID=fedora\n")
    with pytest.raises(fetch_tools.Unavailable, match="no source"):
        fetch_tools.debian_source(tmp_path, BOOKWORM)


def test_a_program_with_libraries_is_started_among_them_wherever_its_folder_lies(tmp_path: Path) -> None:
    tool = fetch_tools.Tool(
        "told", "told", "own", "", "usr/bin/told", "", libraries=("liba",), arguments=("--at", "{tree}/here")
    )
    program = tmp_path / "a b" / "tree" / tool.member
    program.parent.mkdir(parents=True)
    (tmp_path / "a b" / "tree" / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$LD_LIBRARY_PATH" "$@"\n', encoding="utf-8")
    script = tmp_path / "a b" / "bin" / "told"
    script.parent.mkdir()
    script.write_text(fetch_tools.starter(tool, "../tree"), encoding="utf-8")
    for path in (program, script):
        path.chmod(0o755)
    done = subprocess.run(
        [script, "one two"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    libraries, *arguments = done.stdout.splitlines()
    assert Path(libraries).resolve() == tmp_path / "a b" / "tree" / "usr" / "lib" / "x86_64-linux-gnu"
    assert [arguments[0], arguments[2]] == ["--at", "one two"]
    assert Path(arguments[1]).resolve() == tmp_path / "a b" / "tree" / "here"


def test_a_program_with_files_of_its_own_below_usr_share_finds_them_and_the_systems_stay(
    tmp_path: Path,
) -> None:
    tool = fetch_tools.Tool("told", "told", "own", "", "usr/bin/told", "", shares=True)
    program = tmp_path / "a b" / "tree" / tool.member
    for place in (program.parent, tmp_path / "a b" / "tree" / "usr" / "share", tmp_path / "a b" / "bin"):
        place.mkdir(parents=True)
    (tmp_path / "a b" / "tree" / "usr" / "share" / "own").write_text("mine", encoding="utf-8")
    program.write_text('#!/bin/sh\ncat /usr/share/own\nprintf "%s\\n" "" "$@"\n', encoding="utf-8")
    script = tmp_path / "a b" / "bin" / "told"
    script.write_text(fetch_tools.starter(tool, "../tree"), encoding="utf-8")
    for path in (program, script):
        path.chmod(0o755)
    done = subprocess.run([script, "one two"], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        peers.missing(f"this machine does not let us make a mount namespace: {done.stderr}")
    assert done.stdout.splitlines() == ["mine", "one two"], done.stderr
    assert not Path("/usr/share/own").exists()


def test_a_missing_program_fails_in_ci_and_skips_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        peers.require("no-such-program")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        peers.require("no-such-program")


def test_each_generation_of_cosign_runs(cosign: Path) -> None:
    done = subprocess.run([cosign, "version"], capture_output=True, text=True, check=True)
    assert "GoVersion" in done.stdout + done.stderr


def test_stock_trivy_and_openssl_run(trivy: Path, openssl: Path) -> None:
    assert subprocess.run([trivy, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "Version"
    )
    assert subprocess.run([openssl, "version"], capture_output=True, text=True, check=True).stdout


def test_a_command_without_network_cannot_reach_even_a_listener_of_this_machine(
    no_network: tuple[str, ...],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 5)"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
        cut = subprocess.run([*no_network, sys.executable, "-c", program], capture_output=True, check=False)
        assert cut.returncode != 0


# ---- the guard around the tests


def test_no_test_reaches_beyond_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        with pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
            connection.connect(("192.0.2.1", 9))
        with pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
            connection.connect_ex(("192.0.2.1", 9))
    with pytest.raises(pytest.fail.Exception, match=r"example\.org"):
        socket.getaddrinfo("example.org", 443)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"),
    ):
        datagrams.sendto(b"x", ("192.0.2.1", 9))


@given(st.ip_addresses())
def test_an_address_is_local_only_when_it_is_loopback_or_unspecified(address: object) -> None:
    assert network.is_local(str(address)) == bool(
        getattr(address, "is_loopback", False) or getattr(address, "is_unspecified", False)
    )


# ---- generated pages


def test_a_cell_of_a_table_cannot_break_the_table() -> None:
    written = docs.table(("a", "b"), [("x|y", "two\nlines")])
    assert written.splitlines()[2] == "| x\\|y | two lines |"


def test_the_command_page_has_every_command_with_its_help() -> None:
    page = docs.cli_page()
    for title in (
        "stella concelier import",
        "stella export run submit",
        "stella export verify",
        "stella trivy import",
    ):
        assert re.search(rf"^#+ .*{title}", page, flags=re.MULTILINE), title
    assert "--prune" in page
    assert "\\b" not in page
    assert page == docs.cli_page()


def test_every_error_has_a_code_of_its_own_and_a_hint() -> None:
    docs.load_everything()
    known = [error for error in docs.error_classes() if error.__module__.startswith("stellaops.")]
    assert len(known) > 5
    for error in known:
        assert re.fullmatch(r"ERR_[A-Z0-9]+(_[A-Z0-9]+)*", error.code), error
        assert error.hint.endswith("."), error
        assert docs.summary(error), error


# ---- reproduction


def bundle(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


FILES = {"export.json": b"{}", "signatures/export.sig": b"sig", "trivy/db.bundle": b"db"}


def test_equal_bundles_are_called_reproduced(tmp_path: Path) -> None:
    rows = list(reproduce.compare("p", bundle(tmp_path / "a", FILES), bundle(tmp_path / "b", FILES)))
    assert reproduce.verdict(rows, ["p"]) == []
    assert [row.first for row in rows] == [hashlib.sha256(FILES[row.path]).hexdigest() for row in rows]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_differs_or_is_missing_is_told(tmp_path: Path, name: str) -> None:
    left = bundle(tmp_path / "a", FILES)
    changed = list(reproduce.compare("p", left, bundle(tmp_path / "b", FILES | {name: b"other"})))
    assert reproduce.verdict(changed, ["p"]) == [f"p: {name} differs"]
    assert "NOT EQUAL" in reproduce.show(changed)
    fewer = list(
        reproduce.compare("p", left, bundle(tmp_path / "c", {k: v for k, v in FILES.items() if k != name}))
    )
    assert f"p: {name} differs" in reproduce.verdict(fewer, ["p"])


def test_nothing_to_compare_is_not_called_reproduced(tmp_path: Path) -> None:
    rows = list(reproduce.compare("p", bundle(tmp_path / "a", {}), bundle(tmp_path / "b", {})))
    assert len(reproduce.verdict(rows, ["p"])) == 2

"""Published trees on a share that the stock program `rsync` reaches: a daemon's module, or a host by ssh.

Each call of the program costs a connection, so a statement is brought with its signatures, and the files of a domain
are brought together. What comes is believed no more than from anywhere else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from socket import gaierror

from stellaops.adapters.web.egress import Resolve, resolve
from stellaops.bundles import freshness
from stellaops.core.egress import AddressRefused, EgressPolicy, Offline, SchemeRefused
from stellaops.core.errors import InvalidInput, MissingPrerequisite
from stellaops.mirrors import forms
from stellaops.mirrors.domain import Side
from stellaops.mirrors.errors import SourceUnreachable
from stellaops.mirrors.signed_files import SIG, SIGSTORE

PROGRAM = "rsync"
_SCHEME = "rsync://"
_DAEMON_PORT, _SSH_PORT = 873, 22
_USER = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
_HOST = r"(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_URL = re.compile(rf"rsync://{_USER}{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>[^/\s].*)")
_DOUBLE = re.compile(rf"{_USER}{_HOST}::(?P<path>[^/\s].*)")
_SHELL = re.compile(rf"{_USER}{_HOST}:(?P<path>[^:].*)")
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "RSYNC_PROXY")
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15"
_BY_SSH = (
    "Go by ssh, as HOST:PATH, or add the daemon's host to the setting egress.allowHttp: what comes is signed."
)
_SILENT_SECONDS = 60
_MOST_SECONDS = 6 * 3600
_PARTIAL = 23  # the program's own code for: something could not be transferred
_PIECE = 1 << 20
_LINK = re.compile(r"^l\S*\s+\S+\s+\S+\s+\S+\s+latest -> (?:.*/)?(?P<id>[a-z2-7]+)/?$", re.MULTILINE)


class NoRsync(MissingPrerequisite):
    """The program `rsync`, or for a host by ssh the program `ssh`, is not installed."""

    code = "ERR_MIRROR_NO_RSYNC"
    hint = "Install it with the system's package manager, or sync from a bucket, a registry or a mirror over HTTPS."


class BadShare(InvalidInput):
    """An address that names no share."""

    code = "ERR_MIRROR_SHARE"
    hint = "Write rsync://HOST/MODULE/PATH for a daemon, or HOST:PATH for a host that ssh reaches."


@dataclass(frozen=True, slots=True)
class Share:
    """Where a published mirror lies.

    Attributes:
        path: of a daemon the module and what is in it; by ssh a path there.
        password: for a daemon.
    """

    host: str
    path: str
    user: str = ""
    port: int | None = None
    by_ssh: bool = False
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """As people write it."""
        user = f"{self.user}@" if self.user else ""
        if self.by_ssh:
            return f"{user}{self.host}:{self.path}"
        port = f":{self.port}" if self.port else ""
        return f"{_SCHEME}{user}{self.host}{port}/{self.path}"

    @property
    def base(self) -> tuple[str, str]:
        """What a list of files is relative to, and the rest of the path.

        Of a daemon the module alone: some look for the files of a list at another place when there is more.
        """
        inside = self.path.partition("/")[2]
        if self.by_ssh or not inside:
            return self.address.rstrip("/"), ""
        return self.address.removesuffix(f"/{inside}"), f"{inside}/"

    def admit(self, policy: EgressPolicy, look_up: Resolve = resolve) -> None:
        """See whether the share may be gone to.

        A daemon speaks without TLS, so its host has to be one of `egress.allowHttp`.

        Raises:
            Offline, SchemeRefused, AddressRefused: see there.
        """
        port = self.port or (_SSH_PORT if self.by_ssh else _DAEMON_PORT)
        scheme = "https" if self.by_ssh else "http"
        try:
            target = policy.admit(f"{scheme}://{self.host}:{port}/", (self.host.strip("[]"),))
        except SchemeRefused as error:
            raise SchemeRefused(f"{self.address!r} is not protected by TLS", hint=_BY_SSH) from error
        except Offline as error:
            raise Offline(f"{self.address!r} is not read: the product was told to stay offline") from error
        try:
            addresses = look_up(target.host, port)
        except (gaierror, UnicodeError):
            return  # a name that only ssh's own settings know, or nobody: the program says so
        refused: AddressRefused | None = None
        for text in addresses:
            try:
                policy.admit_address(ip_address(text.partition("%")[0]), target.host)
            except AddressRefused as error:
                refused = error
        if refused is not None:
            raise refused


def is_share(place: str) -> bool:
    """Whether an address is one of a share."""
    return place.startswith(_SCHEME) or bool(_DOUBLE.fullmatch(place) or _SHELL.fullmatch(place))


def share_of(place: str, login: tuple[str, str] | None = None) -> Share:
    """Read an address.

    Args:
        login: user and password for a daemon.

    Raises:
        BadShare: see there.
    """
    named = _URL.fullmatch(place) or _DOUBLE.fullmatch(place)
    found = named or _SHELL.fullmatch(place)
    if found is None or (place.startswith(_SCHEME) and named is None):
        raise BadShare(f"{place[:200]!r} is no address of a share")
    told = found.groupdict()
    user, password = login or ("", "")
    port = int(told["port"]) if told.get("port") else None
    path = told["path"].rstrip("/") or "/"
    if ".." in path.split("/"):
        raise BadShare(f"{place[:200]!r} leads back up")
    return Share(told["host"], path, told["user"] or user, port, named is None, password)


class RsyncSource:
    """`mirrors.sync_ports.TreeSource` on a share. Safe for threads once files were brought ahead."""

    def __init__(self, share: Share, program: str | None = None) -> None:
        self._share = share
        found = program or shutil.which(PROGRAM)
        if found is None:
            raise NoRsync(f"{share.address} cannot be read: there is no {PROGRAM} on PATH")
        if share.by_ssh and shutil.which("ssh") is None:
            raise NoRsync(f"{share.address} cannot be read: there is no ssh on PATH")
        self._program = found
        self._beside: dict[tuple[Side, str], bytes] = {}
        self._scratch: dict[Side, Path] = {}

    @property
    def place(self) -> str:
        """See the port."""
        return self._share.address

    def domains(self, side: Side) -> Sequence[str]:
        """See the port."""
        self._beside |= self._statements(side)
        folder = f"{forms.FRESHNESS}/"
        return sorted(
            path.removeprefix(folder).removesuffix(".json")
            for of, path in self._beside
            if of == side and path.startswith(folder) and path.endswith(".json")
        )

    def _statements(self, side: Side) -> dict[tuple[Side, str], bytes]:
        """All freshness statements of a side with their signatures: as many as there are, they cost one call."""
        with tempfile.TemporaryDirectory(prefix="stella-rsync-") as folder:
            limit = f"--max-size={freshness.LARGEST}"
            self._run(
                "--recursive", limit, f"{self._at(side)}/{forms.FRESHNESS}", f"{folder}/", may_lack=True
            )
            found = (Path(folder) / forms.FRESHNESS).glob("*")
            return {
                (side, f"{forms.FRESHNESS}/{file.name}"): data
                for file in found
                if (data := _content(file)) is not None
            }

    def latest(self, side: Side, domain: str) -> str | None:
        """See the port."""
        del domain
        listed = self._run("--list-only", "--links", f"{self._at(side)}/{forms.LATEST}", may_lack=True)
        found = _LINK.search(listed)
        return None if found is None else found["id"]

    def small(self, side: Side, path: str, most: int) -> bytes | None:
        """See the port. What came with something else is given once; who asks again wants it as it is by then."""
        key, where = (side, path), f"{self._at(side)}/{path}"
        if key not in self._beside:
            is_statement = path.startswith(f"{forms.FRESHNESS}/")
            self._beside |= self._statements(side) if is_statement else self._signed(side, path, most)
        data = self._beside.pop(key, None)
        if (
            data is None
            and not path.endswith((SIG, SIGSTORE))
            and self._run("--list-only", where, may_lack=True)
        ):
            raise SourceUnreachable(f"{where} has more than {most} bytes")
        return _bounded(data, most, where)

    def _signed(self, side: Side, path: str, most: int) -> dict[tuple[Side, str], bytes]:
        """A file with the signatures beside it, which are asked for next."""
        wanted = (path, path + SIG, path + SIGSTORE)
        with tempfile.TemporaryDirectory(prefix="stella-rsync-") as folder:
            self._bring(side, wanted, Path(folder), f"--max-size={most}")
            found = {name: _content(self._landed(Path(folder), side, name)) for name in wanted}
        return {(side, name): data for name, data in found.items() if data is not None}

    def ahead(self, side: Side, paths: Sequence[str], scratch: Path) -> None:
        """See the port: all in one call, which goes on with what an earlier one has brought."""
        into = scratch / PROGRAM
        into.mkdir(parents=True, exist_ok=True)
        self._scratch[side] = into
        if paths:
            self._bring(side, paths, into, "--partial")

    def pieces(self, side: Side, path: str) -> Iterator[bytes]:
        """See the port."""
        brought = self._landed(self._scratch[side], side, path) if side in self._scratch else None
        if brought is not None and brought.is_file():
            yield from _read(brought)
            brought.unlink(missing_ok=True)
            return
        with tempfile.TemporaryDirectory(prefix="stella-rsync-") as folder:
            self._bring(side, (path,), Path(folder))
            file = self._landed(Path(folder), side, path)
            if not file.is_file():
                raise SourceUnreachable(f"{self.place} has no {path} of {side}")
            yield from _read(file)

    def _bring(self, side: Side, paths: Sequence[str], into: Path, *options: str) -> None:
        """Copy files, without links and without what is no plain file; those that are not there are left out.

        They lie where `_landed` says.
        """
        base, inside = self._share.base
        names = b"".join(f"{inside}{side}/{path}\0".encode() for path in paths)
        self._run(
            "--files-from=-", "--from0", "--times", "--ignore-missing-args", *options, f"{base}/", f"{into}/",
            told=names,
        )  # fmt: skip

    def _landed(self, into: Path, side: Side, path: str) -> Path:
        return into / self._share.base[1] / side / path

    def _at(self, side: Side) -> str:
        return f"{self._share.address.rstrip('/')}/{side}"

    def _run(self, *words: str, told: bytes = b"", may_lack: bool = False) -> str:
        """One call of the program.

        Args:
            may_lack: whether something may not be there.

        Raises:
            SourceUnreachable: it fails.
        """
        # Given for a daemon too, `--rsh` would have the program look for the daemon behind a shell.
        shell = [f"--rsh={_SSH}"] if self._share.by_ssh else []
        limit = f"--timeout={_SILENT_SECONDS}"
        command = [self._program, "--no-motd", "--secluded-args", limit, *shell, *words]
        try:
            done = subprocess.run(
                command, input=told, capture_output=True, check=False, env=self._environment(), timeout=_MOST_SECONDS
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceUnreachable(f"{self.place}: {error}") from error
        if done.returncode and not (may_lack and _is_lacking(done)):
            raise SourceUnreachable(f"{self.place}: {_reason(done.stderr, done.returncode)}")
        return done.stdout.decode("utf-8", "replace")

    def _environment(self) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {**kept, "LC_ALL": "C"} | (
            {"RSYNC_PASSWORD": self._share.password} if self._share.password else {}
        )


def _is_lacking(done: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether all that went wrong is that something is not there."""
    told = [line for line in done.stderr.splitlines() if b"failed" in line]
    return done.returncode == _PARTIAL and bool(told) and all(b"No such file" in line for line in told)


def _reason(said: bytes, code: int) -> str:
    """What the program said, in a line."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    told = [line for line in lines if not line.startswith("rsync error:")] or lines
    return "; ".join(told)[:300] or f"rsync ends with {code}"


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() and not file.is_symlink() else None


def _bounded(data: bytes | None, most: int, where: str) -> bytes | None:
    if data is not None and len(data) > most:
        raise SourceUnreachable(f"{where} has more than {most} bytes")
    return data


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece

"""SoftHSM, a PKCS#11 module in software, with a token of its own for the tests of a process."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support import tools

TOKEN = "export"  # noqa: S105 - the token's label


@dataclass
class SoftHsm:
    """A token with a PIN in a file."""

    place: Path
    program: Path
    module: Path
    pin: str = field(repr=False, default_factory=lambda: secrets.token_hex(4))

    @property
    def pin_file(self) -> Path:
        return self.place / "pin"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of a process that is to use it."""
        return {
            "SOFTHSM2_CONF": str(self.place / "softhsm2.conf"),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, _libraries(self.module))),
            "STELLA_PKCS11_MODULE": str(self.module),
            "STELLA_PKCS11_PIN_FILE": str(self.pin_file),
        }

    @cached_property
    def _library(self) -> Any:
        import pkcs11  # noqa: PLC0415 - loads a module of C

        for place in _libraries(self.module):
            for each in sorted(place.glob("libbotan*.so*")):
                ctypes.CDLL(str(each), ctypes.RTLD_GLOBAL)
        return pkcs11.lib(str(self.module))

    def make(self, label: str) -> str:
        """A key pair of P-256; its URI."""
        from pkcs11 import Attribute, KeyType  # noqa: PLC0415
        from pkcs11.util.ec import encode_named_curve_parameters  # noqa: PLC0415

        with self._library.get_token(token_label=TOKEN).open(rw=True, user_pin=self.pin) as session:
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            domain = session.create_domain_parameters(KeyType.EC, curve, local=True)
            domain.generate_keypair(store=True, label=label, id=secrets.token_bytes(8))
        return f"pkcs11:token={TOKEN};object={label}"

    def make_secret(self, label: str) -> str:
        """An AES key; its URI."""
        import pkcs11  # noqa: PLC0415

        with self._library.get_token(token_label=TOKEN).open(rw=True, user_pin=self.pin) as session:
            session.generate_key(pkcs11.KeyType.AES, 256, store=True, label=label, id=secrets.token_bytes(8))
        return f"pkcs11:token={TOKEN};object={label}"


@functools.cache
def token() -> SoftHsm:
    """The token of this process, with a PIN of its own: the module reads where its tokens lie only once."""
    program = tools.require("softhsm2-util")
    module = next(iter(sorted(_tree(program).glob("usr/lib/**/libsofthsm2.so"))), None)
    if module is None:
        tools.missing("libsofthsm2.so is not beside softhsm2-util")
    place = Path(tempfile.mkdtemp(prefix="softhsm-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    (place / "tokens").mkdir()
    (place / "softhsm2.conf").write_text(f"directories.tokendir = {place}/tokens\nlog.level = ERROR\n")
    hsm = SoftHsm(place, program, module.resolve())
    hsm.pin_file.write_text(f"{hsm.pin}\n")
    hsm.pin_file.chmod(0o600)
    os.environ["SOFTHSM2_CONF"] = hsm.settings["SOFTHSM2_CONF"]
    command = [
        str(program),
        "--init-token",
        "--free",
        "--label",
        TOKEN,
        "--pin",
        hsm.pin,
        "--so-pin",
        "12345678",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return hsm


def _tree(program: Path) -> Path:
    unpacked = program.parent.parent / "debian" / program.name
    return unpacked if unpacked.is_dir() else Path("/")


def _libraries(module: Path) -> list[Path]:
    tree = module.parents[3] if module.parent.name == "softhsm" else module.parent
    return sorted(tree.glob("usr/lib/*-linux-gnu*"))

"""Every kind of key service keeps the same promises; real servers and modules stand behind them."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stellaops.adapters.keys.services.registry import OPENERS, KeyServices
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.core.egress import AddressRefused, Offline
from stellaops.signing import ecdsa_p256, key_files, key_uri
from stellaops.signing.ecdsa_p256 import PublicKey
from stellaops.signing.interface import (
    KeyServiceDown,
    KeyServiceMissing,
    KeyServiceRefused,
    KeyServiceWrong,
    PinRefused,
)
from stellaops.signing.key_files import KeyForm
from stellaops.signing.key_services import Patience
from stellaops.signing.key_uri import KeyUriRefused
from tests.support import faulty_server, openbao, softhsm
from tests.support.faulty_server import (
    Answer,
    CutAnswer,
    Fault,
    FlipAnswer,
    FlipRequest,
    Lost,
    Silent,
    Slow,
    always,
    first,
)
from tests.support.openbao import OpenBao
from tests.support.softhsm import SoftHsm

TENANT = "acme"
CONTENT_KEY = bytes(range(32))


@dataclass
class Kind:
    """A kind of service as a test uses it."""

    make: Callable[[str], str]
    variables: Mapping[str, str] = field(default_factory=dict)
    make_wrapping: Callable[[str], str] | None = None


def services(place: Path, variables: Mapping[str, str], **more: str) -> KeyServices:
    quick = {"STELLA_KEY_SERVICES_ATTEMPTS": "1", "STELLA_KEY_SERVICES_TIMEOUT_SECONDS": "5"}
    return Local(settings.load({"dataDir": str(place / "data")}, {**quick, **variables, **more})).key_services


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao.serving(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture(scope="module")
def hsm() -> SoftHsm:
    return softhsm.token()


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """The shape of AWS's API, by moto: it hashes digests once more, so its signatures do not hold."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    file = tmp_path_factory.mktemp("aws") / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = AKIAEXAMPLEEXAMPLE\naws_secret_access_key = not-a-secret\n"
    )
    file.chmod(0o600)
    client = boto3.client(
        "kms", endpoint_url=f"http://{host}:{port}", region_name="eu-central-1", aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106
    )  # fmt: skip

    def make(name: str, **more: str) -> str:
        made = client.create_key(**more)["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName=f"alias/{name}", TargetKeyId=made)
        return f"awskms:///alias/{name}"

    yield Kind(
        lambda name: make(name, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"),
        {
            "STELLA_AWSKMS_ENDPOINT": f"http://{host}:{port}",
            "STELLA_AWSKMS_REGION": "eu-central-1",
            "STELLA_AWSKMS_KEY_FILE": str(file),
            "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
            "STELLA_EGRESS_ALLOW_HTTP": str(host),
        },
        make,
    )
    server.stop()


def _file(place: Path) -> Kind:
    def make(name: str) -> str:
        path = place / f"{name}.pem"
        path.write_bytes(key_files.write(ecdsa_p256.generate(), KeyForm.PKCS8, None))
        path.chmod(0o600)
        return f"file://{path}"

    return Kind(make)


@pytest.fixture(params=["file", "pkcs11", "hashivault", "awskms"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    """All kinds."""
    if request.param == "file":
        return _file(tmp_path)
    if request.param == "pkcs11":
        hsm: SoftHsm = request.getfixturevalue("hsm")
        return Kind(hsm.make, hsm.settings, hsm.make_secret)
    if request.param == "awskms":
        found: Kind = request.getfixturevalue("aws")
        return found
    bao: OpenBao = request.getfixturevalue("bao")
    return Kind(bao.make, bao.settings, lambda name: bao.make(name, "aes256-gcm96"))


def named(request: pytest.FixtureRequest) -> str:
    """A name for a key that no other test has."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def test_no_scheme_is_without_a_service() -> None:
    assert set(OPENERS) == set(key_uri.SCHEMES)
    assert set(key_uri.WRAPPING) < set(key_uri.SCHEMES)


def test_a_signature_is_the_keys_own_or_is_not_given(
    kind: Kind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri, found = kind.make(named(request)), services(tmp_path, kind.variables)
    public = found.public_key(TENANT, uri)
    signer = found.signer(TENANT, uri, public)
    assert (signer.key_id, signer.public_key_pem()) == (public.key_id, public.pem())
    if uri.startswith("awskms:"):
        with pytest.raises(KeyServiceWrong, match="was not made by key"):
            signer.sign(b"a message")
        return
    for message in (b"", b"a message", b"\0" * 100_000):
        public.verify(signer.sign(message), hashlib.sha256(message).digest())


def test_a_name_that_stands_for_another_key_gives_no_signature(
    kind: Kind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri, found = kind.make(named(request)), services(tmp_path, kind.variables)
    stranger = ecdsa_p256.generate().public
    with pytest.raises((KeyServiceRefused, KeyServiceWrong)) as refused:
        found.signer(TENANT, uri, stranger).sign(b"a message")
    assert stranger.key_id in refused.value.what


def test_a_key_that_is_not_there_is_told(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = kind.make(named(request))
    absent = uri.replace(named(request), "absent")
    with pytest.raises((KeyServiceRefused, KeyServiceDown), match="absent"):
        services(tmp_path, kind.variables).public_key(TENANT, absent)


def test_a_content_key_is_wrapped_for_one_export_alone(
    kind: Kind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = services(tmp_path, kind.variables)
    if kind.make_wrapping is None:
        with pytest.raises(KeyServiceRefused, match="cannot wrap"):
            found.wrap(TENANT, kind.make(named(request)), CONTENT_KEY, "export")
        return
    uri = kind.make_wrapping(named(request))
    wrapped = found.wrap(TENANT, uri, CONTENT_KEY, "export")
    assert CONTENT_KEY not in wrapped
    assert wrapped != found.wrap(TENANT, uri, CONTENT_KEY, "export")
    assert found.unwrap(TENANT, uri, wrapped, "export") == CONTENT_KEY
    for broken, bound in ((wrapped, "another"), (wrapped[:-3] + b"AAA", "export"), (b"", "export")):
        with pytest.raises(KeyServiceRefused):
            found.unwrap(TENANT, uri, broken, bound)


def test_a_tenant_uses_the_keys_that_it_may(
    kind: Kind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = kind.make(named(request))
    pattern = uri.replace(named(request)[3:9], "*")
    services(tmp_path, kind.variables, STELLA_KEY_SERVICES_ALLOW=f"hashivault://x,{pattern}").public_key(
        TENANT, uri
    )
    with pytest.raises(KeyUriRefused):
        services(tmp_path, kind.variables, STELLA_KEY_SERVICES_ALLOW=uri[:-1]).public_key(TENANT, uri)


class TestVault:
    def test_each_version_of_a_key_is_a_key_and_the_earlier_one_still_signs(
        self, bao: OpenBao, tmp_path: Path
    ) -> None:
        uri, found = bao.make("versions"), services(tmp_path, bao.settings)
        first = found.public_key(TENANT, uri)
        bao.rotate("versions")
        second = found.public_key(TENANT, uri)
        assert first.key_id != second.key_id
        for public in (first, second):
            public.verify(found.signer(TENANT, uri, public).sign(b"x"), hashlib.sha256(b"x").digest())

    def test_the_token_is_read_at_each_request(self, bao: OpenBao, tmp_path: Path) -> None:
        token = tmp_path / "token"
        found = services(tmp_path, bao.settings, STELLA_HASHIVAULT_TOKEN_FILE=str(token))
        uri = bao.make("renewed")
        with pytest.raises(KeyServiceMissing, match="cannot be read"):
            found.public_key(TENANT, uri)
        write(token, "expired")
        with pytest.raises(KeyServiceRefused, match="403") as refused:
            found.public_key(TENANT, uri)
        assert "expired" not in str(refused.value)
        write(token, bao.token(openbao.USING))
        assert found.public_key(TENANT, uri).key_id

    def test_a_token_file_that_others_may_read_is_refused(self, bao: OpenBao, tmp_path: Path) -> None:
        write(tmp_path / "token", bao.token(openbao.USING)).chmod(0o644)
        found = services(tmp_path, bao.settings, STELLA_HASHIVAULT_TOKEN_FILE=str(tmp_path / "token"))
        with pytest.raises(KeyServiceMissing, match="open to others"):
            found.public_key(TENANT, bao.make("open"))

    def test_a_token_that_may_not_sign_is_told_at_once(self, bao: OpenBao, tmp_path: Path) -> None:
        reading = 'path "transit/keys/*" { capabilities = ["read"] }'
        write(tmp_path / "token", bao.token(reading))
        found = services(tmp_path, bao.settings, STELLA_HASHIVAULT_TOKEN_FILE=str(tmp_path / "token"))
        uri = bao.make("unsigned")
        with pytest.raises(KeyServiceRefused, match=r"403: .*permission denied"):
            found.signer(TENANT, uri, found.public_key(TENANT, uri)).sign(b"x")

    def test_a_key_of_another_kind_is_refused(self, bao: OpenBao, tmp_path: Path) -> None:
        for name, type_ in (("rsa", "rsa-2048"), ("ed", "ed25519"), ("aes", "aes256-gcm96")):
            with pytest.raises(KeyServiceRefused, match=type_):
                services(tmp_path, bao.settings).public_key(TENANT, bao.make(name, type_))

    def test_a_sealed_vault_is_asked_again_until_it_is_open(self, bao: OpenBao, tmp_path: Path) -> None:
        uri, pauses = bao.make("sealed"), list[float]()
        found = services(tmp_path, bao.settings)
        public = found.public_key(TENANT, uri)

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                bao.unseal()

        patient = KeyServices(found.context, patience(sleep, attempts=5))
        bao.seal()
        try:
            public.verify(patient.signer(TENANT, uri, public).sign(b"x"), hashlib.sha256(b"x").digest())
        finally:
            bao.unseal()
        assert len(pauses) == 3
        assert pauses == sorted(pauses)

    def test_one_that_stays_sealed_is_told_with_the_number_of_attempts(
        self, bao: OpenBao, tmp_path: Path
    ) -> None:
        uri, found = bao.make("closed"), services(tmp_path, bao.settings)
        public = found.public_key(TENANT, uri)
        patient = KeyServices(found.context, patience(lambda seconds: None, attempts=4))
        bao.seal()
        try:
            with pytest.raises(KeyServiceDown, match=r"503: .*sealed \(asked 4 times\)"):
                patient.signer(TENANT, uri, public).sign(b"x")
        finally:
            bao.unseal()

    def test_one_that_hangs_is_not_waited_for(self, bao: OpenBao, tmp_path: Path) -> None:
        uri = bao.make("hangs")
        found = services(tmp_path, bao.settings, STELLA_KEY_SERVICES_TIMEOUT_SECONDS="1")
        with bao.hanging(), pytest.raises(KeyServiceDown, match="does not answer"):
            found.public_key(TENANT, uri)
        assert found.public_key(TENANT, uri).key_id

    @pytest.mark.parametrize(
        ("fault", "pauses"),
        [
            (Answer(429, {"Retry-After": "7"}), [7.0]),
            (Answer(500), [0.5]),
            (Answer(307, {"Location": "https://vault-2.example.org/"}), [0.5]),
            (Lost(), [0.5]),
            (CutAnswer(10), [0.5]),
            (Slow(pause=0.3), [0.5]),
            (Silent(), [0.5]),
        ],
        ids=lambda value: type(value).__name__ + str(getattr(value, "status", "")),
    )
    def test_what_passes_is_waited_for_and_what_stays_is_told(
        self, bao: OpenBao, tmp_path: Path, fault: Fault, pauses: list[float]
    ) -> None:
        uri, waited = bao.make("faulty"), list[float]()
        with faulty_server.before(bao.address) as faulty:
            found = services(
                tmp_path,
                bao.settings,
                STELLA_HASHIVAULT_ADDRESS=faulty.url,
                STELLA_KEY_SERVICES_TIMEOUT_SECONDS="1",
            )
            public = found.public_key(TENANT, uri)
            patient = KeyServices(found.context, patience(waited.append, attempts=2))
            faulty.misbehave = first(1, fault, lambda seen: "/sign/" in seen.path)
            public.verify(patient.signer(TENANT, uri, public).sign(b"x"), hashlib.sha256(b"x").digest())
            assert waited == pauses
            faulty.misbehave = always(fault, lambda seen: "/sign/" in seen.path)
            began = time.monotonic()
            with pytest.raises(KeyServiceDown, match="asked 2 times"):
                patient.signer(TENANT, uri, public).sign(b"x")
            assert time.monotonic() - began < 10

    def test_a_bit_that_flips_on_the_way_gives_no_signature(self, bao: OpenBao, tmp_path: Path) -> None:
        uri = bao.make("flips")
        with faulty_server.before(bao.address) as faulty:
            found = services(tmp_path, bao.settings, STELLA_HASHIVAULT_ADDRESS=faulty.url)
            public = found.public_key(TENANT, uri)
            flips = list[Fault]([FlipRequest(15), FlipRequest(30)])
            flips += [FlipAnswer(at) for at in range(120, 300, 9)]
            for fault in flips:
                faulty.misbehave = always(fault, lambda seen: "/sign/" in seen.path)
                with suppress(KeyServiceWrong, KeyServiceDown, KeyServiceRefused):
                    made = found.signer(TENANT, uri, public).sign(b"x")
                    public.verify(made, hashlib.sha256(b"x").digest())  # it was another part of the answer
            assert faulty.met >= 22

    def test_one_that_is_gone_is_told_without_its_address(self, bao: OpenBao, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
        found = services(tmp_path, bao.settings, STELLA_HASHIVAULT_ADDRESS=address)
        with pytest.raises(KeyServiceDown) as gone:
            found.public_key(TENANT, "hashivault://gone")
        assert "hashivault://gone" in gone.value.what
        assert address.rpartition(":")[2] not in gone.value.what

    def test_the_rules_of_egress_hold(self, bao: OpenBao, tmp_path: Path) -> None:
        for variable, value, error in (
            ("STELLA_OFFLINE", "true", Offline),
            ("STELLA_EGRESS_ALLOW_PRIVATE", "10.0.0.0/8", AddressRefused),
        ):
            with pytest.raises(error):
                services(tmp_path, bao.settings, **{variable: value}).public_key(TENANT, "hashivault://x")

    def test_its_certificate_is_checked(self, bao: OpenBao, tmp_path: Path) -> None:
        uri, told = bao.make("protected"), {"STELLA_HASHIVAULT_ADDRESS": bao.tls_address}
        with pytest.raises(KeyServiceRefused, match="certificate is not trusted"):
            services(tmp_path, bao.settings, **told).public_key(TENANT, uri)
        found = services(tmp_path, bao.settings, **told, STELLA_HASHIVAULT_CA_FILE=str(bao.ca_file))
        public = found.public_key(TENANT, uri)
        public.verify(found.signer(TENANT, uri, public).sign(b"x"), hashlib.sha256(b"x").digest())

    def test_engines_can_be_a_tenants_own(self, bao: OpenBao, tmp_path: Path) -> None:
        bao.ask("POST", "sys/mounts/of-acme", {"type": "transit"})
        bao.ask("POST", "of-acme/keys/own", {"type": "ecdsa-p256"})
        write(tmp_path / "token-acme", bao.root)
        found = services(
            tmp_path,
            bao.settings,
            STELLA_HASHIVAULT_MOUNT="of-{tenant}",
            STELLA_HASHIVAULT_TOKEN_FILE=str(tmp_path / "token-{tenant}"),
        )
        assert isinstance(found.public_key(TENANT, "hashivault://own"), PublicKey)
        write(tmp_path / "token-other", bao.root)
        with pytest.raises(KeyServiceRefused):
            found.public_key("other", "hashivault://own")


class TestModules:
    def test_a_wrong_pin_is_tried_once(self, hsm: SoftHsm, tmp_path: Path) -> None:
        uri = hsm.make("pin")
        wrong = write(tmp_path / "pin", "000000")
        found = services(tmp_path, hsm.settings, STELLA_PKCS11_PIN_FILE=str(wrong))
        attempts = list[float]()
        patient = KeyServices(found.context, patience(attempts.append, attempts=5))
        with pytest.raises(PinRefused, match="PinIncorrect") as refused:
            patient.public_key(TENANT, uri)
        assert attempts == []
        assert "000000" not in str(refused.value)

    def test_two_keys_of_one_label_are_told_apart(self, hsm: SoftHsm, tmp_path: Path) -> None:
        uri = hsm.make("twins")
        found = services(tmp_path, hsm.settings)
        first = found.public_key(TENANT, uri)
        hsm.make("twins")
        first.verify(found.signer(TENANT, uri, first).sign(b"x"), hashlib.sha256(b"x").digest())

    def test_a_module_that_cannot_be_loaded_is_told(self, hsm: SoftHsm, tmp_path: Path) -> None:
        for module in (str(tmp_path / "absent.so"), __file__):
            with pytest.raises(KeyServiceMissing, match="cannot be loaded"):
                services(tmp_path, hsm.settings, STELLA_PKCS11_MODULE=module).public_key(
                    TENANT, "pkcs11:token=export;object=x"
                )


class TestFiles:
    def test_a_key_under_a_passphrase_is_opened_by_the_settings_one(self, tmp_path: Path) -> None:
        key = ecdsa_p256.generate()
        path = tmp_path / "cosign.key"
        path.write_bytes(key_files.write(key, KeyForm.COSIGN, b"a long passphrase"))
        path.chmod(0o600)
        with pytest.raises(KeyServiceRefused, match="needs a passphrase"):
            services(tmp_path, {}).public_key(TENANT, f"file://{path}")
        word = write(tmp_path / "word", "a long passphrase")
        found = services(tmp_path, {}, STELLA_KEY_PASSPHRASE_FILE=str(word))
        assert found.public_key(TENANT, f"file://{path}").key_id == key.key_id

    def test_a_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        uri = _file(tmp_path).make("open")
        (tmp_path / "open.pem").chmod(0o640)
        with pytest.raises(KeyServiceRefused, match="open to others"):
            services(tmp_path, {}).public_key(TENANT, uri)


@pytest.mark.parametrize(
    ("uri", "setting"),
    [
        ("hashivault://x", "hashivault.address"),
        ("pkcs11:token=a;object=b", "pkcs11.module"),
    ],
)
def test_what_is_not_set_is_named(tmp_path: Path, uri: str, setting: str) -> None:
    with pytest.raises(KeyServiceMissing, match=setting):
        services(tmp_path, {}).public_key(TENANT, uri)


def write(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def patience(sleep: Callable[[float], Any], *, attempts: int) -> Patience:
    return Patience(attempts, sleep, lambda: 0.5)

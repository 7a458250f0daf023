"""Access tokens: what holds, what does not, and how soon a revocation does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from stellaops.adapters.tokens.jws import JwsReader, jwks
from stellaops.adapters.tokens.signing import FileTokenSigner
from stellaops.authority import manage_clients
from stellaops.authority.access import ForeignTenant, Principal
from stellaops.authority.actors import OPERATOR
from stellaops.authority.check_tokens import Access
from stellaops.authority.issue_tokens import BadCredentials, BadGrant, Issued, Issuer
from stellaops.authority.keys import KeyUnavailable
from stellaops.authority.manage_clients import ClientTools, Wanted
from stellaops.authority.tenants import Tenant
from stellaops.authority.tokens import LARGEST, BadToken, BadTokenSettings, TokenSettings
from stellaops.core.errors import NotAuthenticated
from stellaops.signing import ecdsa_p256
from tests.unit.authority.stores import Clock, MemoryTokenKeys, tools

SETTINGS = TokenSettings()
_PEM = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@dataclass
class Installation:
    """Stores, a clock, and processes that share them: each with its own directory or its own cache."""

    directory: Path
    tools: ClientTools = field(default_factory=lambda: tools("acme", "other"))
    clock: Clock = field(default_factory=Clock)
    passphrase: Callable[[], bytes | None] = lambda: None

    def __post_init__(self) -> None:
        self.keys = MemoryTokenKeys(self.tools.clients, self.tools.tenants)  # type: ignore[arg-type]
        self.access = self.checker()
        self.issuer = self.login()
        wanted = Wanted("ci", None, ("acme", "other"), ("export:read", "export:run"))
        done = manage_clients.create_client(self.tools, OPERATOR, wanted, now=self.clock.at)
        self.secret = done.secret or ""

    def checker(self) -> Access:
        return Access(self.keys, JwsReader(), SETTINGS, self.clock.now, self.clock.monotonic)

    def login(self, machine: str = "one") -> Issuer:
        signer = FileTokenSigner(self.directory / machine, self.keys, SETTINGS, self.passphrase)
        return Issuer(self.tools.clients, self.tools.tenants, signer, SETTINGS, self.clock.now)

    def token(self, **asked: str) -> str:
        return self.issue(**asked).token

    def issue(self, **asked: str) -> Issued:
        return self.issuer.issue("ci", [self.secret], **asked)

    def refuses(self, token: str, because: str | None = None) -> None:
        with pytest.raises(BadToken, match=because) as refused:
            self.checker().principal(token)
        assert token not in str(refused.value)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def text(data: bytes | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")
    decoded = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, payload))
    return next(decoded), next(decoded), signature


def key_of(installation: Installation) -> ECKey:
    """The private key that signs."""
    (path,) = (installation.directory / "one").glob("*.pem")
    return ECKey.import_key(path.read_bytes())


def forged(installation: Installation, **claims: Any) -> str:
    """A token by the installation's own key that says something else; None takes a claim away."""
    header, payload, _ = parts(installation.token())
    wanted = {name: value for name, value in (payload | claims).items() if value is not None}
    return jwt.encode(header, wanted, key_of(installation), algorithms=["ES256"])


def signed(installation: Installation, header: dict[str, Any], payload: dict[str, Any]) -> str:
    """A token with any header, whose signature by the installation's own key is right."""
    message = f"{text(header)}.{text(payload)}"
    der = key_of(installation).private_key.sign(message.encode(), ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr]
    r, s = decode_dss_signature(der)
    return f"{message}.{text(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


# ---- what holds


def test_a_token_says_who_asks_and_what_they_may(installation: Installation) -> None:
    principal = installation.access.principal(installation.token())
    assert principal == Principal("ci", ("acme", "other"), frozenset({"export:read", "export:run"}))


def test_a_token_is_of_the_form_that_rfc_9068_asks_for(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    assert header == {"alg": "ES256", "kid": header["kid"], "typ": "at+jwt"}
    assert payload | {"jti": "", "iat": 0, "exp": 0} == {
        "iss": "stellaops", "aud": "stellaops", "sub": "ci", "client_id": "ci", "iat": 0, "exp": 0, "jti": "",
        "scope": "export:read export:run", "tenants": ["acme", "other"],
    }  # fmt: skip
    assert payload["exp"] - payload["iat"] == 900
    assert len({parts(installation.token())[1]["jti"] for _ in range(20)}) == 20


def test_another_library_verifies_a_token_with_the_jwk_set(installation: Installation) -> None:
    token = installation.token()
    found = jwks(installation.keys.list())
    assert [sorted(key) for key in found["keys"]] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]
    read = jwt.decode(token, KeySet.import_key_set(found), algorithms=["ES256"])  # type: ignore[arg-type]
    assert read.claims["client_id"] == "ci"


def test_a_client_gets_less_than_it_has_where_it_asks_so(installation: Installation) -> None:
    principal = installation.access.principal(installation.token(scope="export:run", tenant="other"))
    assert principal == Principal("ci", ("other",), frozenset({"export:run"}))


@pytest.mark.parametrize("asked", [{"scope": "policy:manage"}, {"tenant": "default"}, {"tenant": "*"}])
def test_a_client_never_gets_more_than_it_has(installation: Installation, asked: dict[str, str]) -> None:
    with pytest.raises(BadGrant):
        installation.token(**asked)


def test_an_operator_acts_for_every_tenant_also_for_one_made_since(installation: Installation) -> None:
    done, _ = manage_clients.bootstrap(installation.tools, "admin", now=installation.clock.at)
    token = installation.issuer.issue("admin", [done.secret or ""]).token
    principal = installation.access.principal(token)
    assert (principal.operator, principal.tenants) == (True, ("default", "acme", "other"))
    installation.tools.tenants.add(Tenant("late"))
    installation.clock.move(3 * SECOND)
    assert installation.access.principal(token).tenant("late") == "late"
    with pytest.raises(ForeignTenant):
        installation.access.principal(token).tenant("*")


def test_an_operator_that_asks_for_one_tenant_is_none_with_that_token(installation: Installation) -> None:
    done, _ = manage_clients.bootstrap(installation.tools, "admin", now=installation.clock.at)
    token = installation.issuer.issue("admin", [done.secret or ""], tenant="acme").token
    principal = installation.access.principal(token)
    assert (principal.operator, principal.tenants) == (False, ("acme",))
    with pytest.raises(BadGrant):
        installation.issuer.issue("admin", [done.secret or ""], tenant="nobody")


# ---- logins that fail


@pytest.mark.parametrize("client_id", ["ci", "nobody", "", "x" * 1000])
def test_a_wrong_login_does_not_tell_what_is_wrong(installation: Installation, client_id: str) -> None:
    said = set()
    for candidates in ([], [""], ["wrong"], [installation.secret[:-1]]):
        with pytest.raises(BadCredentials) as refused:
            installation.issuer.issue(client_id, candidates)
        said.add((refused.value.what, refused.value.advice))
    assert len(said) == 1


def test_a_revoked_client_gets_no_token(installation: Installation) -> None:
    manage_clients.revoke_client(installation.tools, OPERATOR, "ci", now=installation.clock.at)
    with pytest.raises(BadCredentials):
        installation.token()


def test_both_secrets_log_in_during_the_overlap_and_the_last_use_is_noted(installation: Installation) -> None:
    done = manage_clients.rotate_secret(
        installation.tools, OPERATOR, "ci", now=installation.clock.at, overlap=MINUTE
    )
    second = done.secret or ""
    assert installation.token()
    assert installation.issuer.issue("ci", [second]).token
    client = installation.tools.clients.get("ci")
    assert client is not None
    assert [each.used_at for each in client.secrets] == [installation.clock.at] * 2
    installation.clock.move(MINUTE)
    with pytest.raises(BadCredentials):
        installation.token()
    assert installation.issuer.issue("ci", [second]).token


def test_no_secret_and_no_token_shows_in_a_repr(installation: Installation) -> None:
    issued = installation.issue()
    assert issued.token not in repr(issued)
    assert installation.secret not in repr(issued)


# ---- forged tokens


def test_a_token_without_a_signature_is_refused(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    for alg in ("none", "None", "NONE", ""):
        for signature in ("", text(b"x" * 64)):
            installation.refuses(f"{text(header | {'alg': alg})}.{text(payload)}.{signature}")


def test_a_public_key_is_no_secret_of_a_symmetric_signature(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    (key,) = installation.keys.list()
    secrets = (key.public_key_pem, key.public_key_pem.strip(), json.dumps(jwks([key])["keys"][0]).encode())
    for secret in secrets:
        signed = f"{text(header | {'alg': 'HS256'})}.{text(payload)}"
        signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        installation.refuses(f"{signed}.{text(signature)}", "not signed with ES256")


def test_a_token_of_another_algorithm_is_refused(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    private = RSAKey.import_key(rsa.generate_private_key(65537, 2048).private_bytes(*_PEM))
    signed = jwt.encode(header | {"alg": "RS256"}, payload, private, algorithms=["RS256"])
    installation.refuses(signed, "not signed with ES256")
    larger = ECKey.import_key(ec.generate_private_key(ec.SECP384R1()).private_bytes(*_PEM))
    signed = jwt.encode(header | {"alg": "ES384"}, payload, larger, algorithms=["ES384"])
    installation.refuses(signed, "not signed with ES256")


def test_a_foreign_key_signs_nothing_whatever_id_it_takes(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    foreign = ECKey.import_key(ecdsa_p256.generate().to_pem(None))
    installation.refuses(jwt.encode(header, payload, foreign, algorithms=["ES256"]), "signature")
    own = header | {"kid": "0" * 64}
    installation.refuses(jwt.encode(own, payload, foreign, algorithms=["ES256"]), "does not trust")


@pytest.mark.parametrize(
    "more",
    [
        {"jwk": {"kty": "EC"}}, {"jku": "https://example.org/jwks"}, {"x5u": "https://example.org/x"},
        {"crit": ["b64"], "b64": False}, {"typ": "JWT"}, {"typ": "dpop+jwt"}, {"typ": None}, {"kid": None},
        {"kid": "../../etc/passwd"}, {"kid": 7}, {"kid": ""}, {"zip": "DEF"},
    ],
)  # fmt: skip
def test_a_header_that_asks_for_anything_else_is_refused(
    installation: Installation, more: dict[str, Any]
) -> None:
    header, payload, _ = parts(installation.token())
    changed = {name: value for name, value in (header | more).items() if value is not None}
    installation.refuses(signed(installation, changed, payload))


def test_a_header_signed_by_hand_holds_where_it_asks_for_nothing_else(installation: Installation) -> None:
    header, payload, _ = parts(installation.token())
    assert installation.checker().principal(signed(installation, header, payload)).client == "ci"


def test_what_is_no_token_is_refused(installation: Installation) -> None:
    token = installation.token()
    header, payload, signature = token.split(".")
    flipped = signature[:-8] + ("A" if signature[-8] != "A" else "B") + signature[-7:]
    odd = (
        "", ".", "..", "...", "a.b.c", "é.é.é", "\x00", f"{header}.{payload}", f"{header}.{payload}.",
        f"{header}.{payload}.{flipped}", f"{header}.{text(b'[]')}.{signature}", f"{token}.{signature}",
        f"{header}..{signature}", f"{text(b'[]')}.{payload}.{signature}", f"{text(b'{')}.{payload}.{signature}",
        f"{text(b'[' * 200)}.{payload}.{signature}", f"{text(b'7')}.{payload}.{signature}",
        f"{text(b'{}')}.{payload}.{signature}", "x" * (LARGEST + 1),
    )  # fmt: skip
    for each in odd:
        with pytest.raises(BadToken):
            installation.checker().principal(each)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "other"}, "issuer"), ({"iss": None}, "issuer"), ({"aud": "other"}, "audience"),
        ({"aud": None}, "audience"), ({"aud": []}, "audience"), ({"aud": ["other"]}, "audience"),
        ({"exp": None}, "exp"), ({"exp": "soon"}, "exp"), ({"exp": True}, "exp"), ({"exp": 1e300}, "exp"),
        ({"iat": None}, "iat"), ({"exp": 4_000_000_000}, "longer than 15 minutes"), ({"sub": "admin"}, "client"),
        ({"client_id": "admin"}, "client"), ({"tenants": None}, "tenants"), ({"tenants": []}, "tenants"),
        ({"tenants": "acme"}, "tenants"), ({"tenants": [1]}, "tenants"), ({"scope": None}, "scope"),
        ({"scope": ["export:read"]}, "scope"), ({"jti": None}, "id"),
    ],
)  # fmt: skip
def test_a_signed_token_that_says_something_else_is_refused(
    installation: Installation, claims: dict[str, Any], said: str
) -> None:
    installation.refuses(forged(installation, **claims), said)


def test_a_signed_token_that_says_the_same_again_holds(installation: Installation) -> None:
    assert installation.checker().principal(forged(installation, aud=["x", "stellaops"])).client == "ci"


def test_a_scope_that_nobody_knows_is_left_out(installation: Installation) -> None:
    token = forged(installation, scope="export:read root")
    assert installation.checker().principal(token).scopes == frozenset({"export:read"})


def test_a_token_ends_to_the_second(installation: Installation) -> None:
    issued = installation.issue()
    installation.clock.move(issued.claims.expires_at - installation.clock.at - timedelta(microseconds=1))
    assert installation.checker().principal(issued.token).client == "ci"
    installation.clock.move(timedelta(microseconds=1))
    installation.refuses(issued.token, "expired")


def test_a_token_of_the_future_is_refused_beyond_the_difference_of_clocks(installation: Installation) -> None:
    token = installation.token()
    installation.clock.move(-29 * SECOND)
    assert installation.checker().principal(token).client == "ci"
    installation.clock.move(-2 * SECOND)
    installation.refuses(token, "future")


@pytest.mark.parametrize("seconds", [29, 901, 3600])
def test_no_setting_makes_tokens_live_for_longer_than_15_minutes(seconds: int) -> None:
    with pytest.raises(BadTokenSettings):
        TokenSettings(life=timedelta(seconds=seconds))


def test_every_refusal_of_a_token_is_one_of_authentication() -> None:
    assert issubclass(BadToken, NotAuthenticated)
    assert issubclass(BadCredentials, NotAuthenticated)


# ---- revocation


def test_a_revocation_takes_effect_in_every_process_within_seconds(installation: Installation) -> None:
    token, other = installation.token(), installation.checker()
    assert installation.access.principal(token) == other.principal(token)
    manage_clients.revoke_client(installation.tools, OPERATOR, "ci", now=installation.clock.at)
    installation.clock.move(timedelta(seconds=2.1))
    for process in (installation.access, other):
        with pytest.raises(BadToken, match="revoked"):
            process.principal(token)


def test_a_process_that_revokes_forgets_at_once(installation: Installation) -> None:
    token = installation.token()
    installation.access.principal(token)
    manage_clients.revoke_client(installation.tools, OPERATOR, "ci", now=installation.clock.at)
    installation.access.forget()
    with pytest.raises(BadToken, match="revoked"):
        installation.access.principal(token)


def test_tokens_from_before_a_rotation_without_overlap_end_and_later_ones_hold(
    installation: Installation,
) -> None:
    before = installation.token()
    done = manage_clients.rotate_secret(
        installation.tools, OPERATOR, "ci", now=installation.clock.at, overlap=timedelta()
    )
    after = installation.issuer.issue("ci", [done.secret or ""]).token  # within the same second
    installation.refuses(before, "revoked or changed")
    assert installation.checker().principal(after).client == "ci"


def test_checks_look_at_the_store_once_in_two_seconds(installation: Installation) -> None:
    token = installation.token()
    for _ in range(100):
        installation.access.principal(token)
        installation.clock.move(timedelta(milliseconds=50))
    assert installation.keys.looks == 3


def test_tokens_by_unknown_keys_make_few_looks_at_the_store(installation: Installation) -> None:
    header, payload, signature = parts(installation.token())
    for number in range(1000):
        with pytest.raises(BadToken):
            installation.access.principal(
                f"{text(header | {'kid': f'{number:043}'})}.{text(payload)}.{signature}"
            )
    assert installation.keys.looks <= 12


def test_a_store_that_does_not_answer_lets_nobody_in(installation: Installation) -> None:
    token = installation.token()
    installation.access.principal(token)
    installation.clock.move(3 * SECOND)

    def fail(now: object) -> Any:
        del now
        raise ConnectionError

    installation.keys.state = fail  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        installation.access.principal(token)


# ---- keys


def test_each_machine_has_a_key_of_its_own_and_all_check_the_tokens_of_each(
    installation: Installation,
) -> None:
    first = installation.token()
    installation.access.principal(first)
    second = installation.login("two").issue("ci", [installation.secret]).token
    assert parts(first)[0]["kid"] != parts(second)[0]["kid"]
    # Made this very moment, and known to a process that has looked at the store a moment ago.
    assert installation.access.principal(second).client == "ci"


def test_processes_on_one_directory_share_its_key(installation: Installation) -> None:
    kids = {
        parts(each.issue("ci", [installation.secret]).token)[0]["kid"]
        for each in (installation.issuer, installation.login(), installation.login())
    }
    assert len(kids) == 1
    (path,) = (installation.directory / "one").glob("*.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_exchanged_at_the_end_of_its_time_and_its_last_tokens_hold(
    installation: Installation,
) -> None:
    first = installation.token()
    installation.clock.move(timedelta(days=30) - MINUTE)
    last = installation.token()
    installation.clock.move(2 * MINUTE)
    installation.issuer = installation.login()
    after = installation.token()
    assert parts(first)[0]["kid"] == parts(last)[0]["kid"] != parts(after)[0]["kid"]
    for token in (last, after):
        assert installation.checker().principal(token).client == "ci"
    assert len(list((installation.directory / "one").glob("*.pem"))) == 1, (
        "the private key that is over is gone"
    )
    installation.clock.move(15 * MINUTE)
    assert [each.id for each in installation.checker().verifying_keys()] == [parts(after)[0]["kid"]]


def test_rotation_by_command_reaches_a_running_process(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr("stellaops.adapters.tokens.signing.time.monotonic", lambda: seconds[0])
    before = installation.token()
    (key,) = installation.keys.list()
    installation.keys.end([key.id], installation.clock.at, revoke=False)
    seconds[0] += 2.1
    after = installation.token()
    assert parts(before)[0]["kid"] != parts(after)[0]["kid"]
    for token in (before, after):
        assert installation.checker().principal(token).client == "ci"


def test_tokens_of_a_revoked_key_end(installation: Installation) -> None:
    token = installation.token()
    (key,) = installation.keys.list()
    installation.keys.end([key.id], installation.clock.at, revoke=True)
    installation.refuses(token, "does not trust")


def test_a_key_that_the_store_does_not_know_signs_nothing(installation: Installation) -> None:
    """As after the store was put back from a backup."""
    before = installation.token()
    installation.keys.kept.clear()
    installation.issuer = installation.login()
    after = installation.token()
    installation.refuses(before, "does not trust")
    assert installation.checker().principal(after).client == "ci"


def test_a_private_key_is_under_the_passphrase_where_there_is_one(tmp_path: Path) -> None:
    installation = Installation(tmp_path, passphrase=lambda: b"a passphrase of some length")
    first = installation.token()
    (path,) = (tmp_path / "one").glob("*.pem")
    assert b"ENCRYPTED SIGSTORE PRIVATE KEY" in path.read_bytes()
    again = installation.login().issue("ci", [installation.secret]).token
    assert parts(first)[0]["kid"] == parts(again)[0]["kid"]
    installation.passphrase = lambda: b"some other words"
    with pytest.raises(KeyUnavailable) as refused:
        installation.login().issue("ci", [installation.secret])
    assert "some other words" not in str(refused.value)


def test_a_private_key_that_others_may_read_signs_nothing(installation: Installation) -> None:
    installation.token()
    (path,) = (installation.directory / "one").glob("*.pem")
    path.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="open to others"):
        installation.login().issue("ci", [installation.secret])


def test_a_private_key_under_the_name_of_another_one_is_refused(installation: Installation) -> None:
    installation.token()
    (path,) = (installation.directory / "one").glob("*.pem")
    path.write_bytes(ecdsa_p256.generate().to_pem(None))
    with pytest.raises(KeyUnavailable, match="another key"):
        installation.login().issue("ci", [installation.secret])

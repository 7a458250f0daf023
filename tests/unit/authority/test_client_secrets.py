from __future__ import annotations

import hmac
import math
import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from stellaops.authority import client_secrets
from stellaops.authority.client_secrets import WeakSecret, demand_strength, generate, hashed, matching


def test_a_secret_that_is_made_has_256_bits_and_passes_as_strong() -> None:
    made = {generate() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        assert secret.startswith(client_secrets.PREFIX)
        assert len(secret) - len(client_secrets.PREFIX) == math.ceil(256 / 6)
        assert demand_strength(secret) == secret


def test_only_the_secret_itself_matches_its_hash() -> None:
    secret = generate()
    stored = hashed(secret)
    assert secret not in stored
    assert matching(secret, [stored]) == 0
    for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), stored):
        assert matching(wrong, [stored]) is None


def test_equal_secrets_of_two_clients_have_unlike_hashes() -> None:
    assert hashed("x" * 40) != hashed("x" * 40)


def test_one_derivation_checks_all_secrets_of_a_client_and_as_many_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = generate(), generate()
    stored = [hashed(first)]
    stored.append(hashed(second, stored))
    derived: list[str] = []
    derive: Callable[..., bytes] = client_secrets._derived

    def counted(secret: str, *more: Any) -> bytes:
        derived.append(secret)
        return derive(secret, *more)

    monkeypatch.setattr(client_secrets, "_derived", counted)
    assert (matching(first, stored), matching(second, stored), matching("wrong", stored)) == (0, 1, None)
    assert len(derived) == 3
    assert matching("wrong", []) is None
    assert len(derived) == 4


def test_hashes_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def noted(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return left == right

    secret = generate()
    stored = [hashed(secret)]
    stored.append(hashed(generate(), stored))
    monkeypatch.setattr(hmac, "compare_digest", noted)
    assert matching(secret, stored) == 0
    assert compared == [(32, 32), (32, 32)], "a hit does not cut the comparison short"


def test_a_hash_costs_whoever_guesses_a_tenth_of_a_second_each_time() -> None:
    program = "from stellaops.authority.client_secrets import hashed; print(hashed('one of many guesses'))"
    # In a process of its own: hashes cost less in those of tests.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("$scrypt$ln=15,r=8,p=1$")


@pytest.mark.parametrize(
    "damage",
    [
        "", "plain", "$scrypt$ln=31,r=8,p=1${salt}${digest}", "$scrypt$ln=15,r=8,p=99${salt}${digest}",
        "$scrypt$ln=15,r=8,p=1$${digest}", "$argon2id${salt}${digest}",
    ],
)  # fmt: skip
def test_a_damaged_hash_or_one_that_asks_for_other_costs_matches_nothing(damage: str) -> None:
    secret = generate()
    salt, digest = hashed(secret).split("$")[3:]
    assert matching(secret, [damage.format(salt=salt, digest=digest)]) is None


@pytest.mark.parametrize(
    "weak",
    [
        "", "short", "a" * 64, "changeme" * 8, "0123456789" * 4, "abababababababababababababababab01", "x y" * 20,
        "ö" * 40, secrets.token_hex(200), "012012012012012012012012012012010",
    ],
)  # fmt: skip
def test_a_weak_secret_is_refused_without_being_repeated(weak: str) -> None:
    with pytest.raises(WeakSecret) as refused:
        demand_strength(weak)
    assert not weak or weak not in str(refused.value)


@pytest.mark.parametrize("make", [lambda: secrets.token_hex(32), lambda: secrets.token_urlsafe(32)])
def test_what_openssl_rand_and_their_like_make_is_strong_enough(make: Callable[[], str]) -> None:
    for _ in range(200):
        secret = make()
        assert demand_strength(secret) == secret

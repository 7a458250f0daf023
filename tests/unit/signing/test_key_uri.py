from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.signing import key_uri
from stellaops.signing.key_uri import BadKeyUri, KeyUriRefused

KMS = "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("hashivault://acme", "hashivault", "acme"),
        ("hashivault://acme.export-2", "hashivault", "acme.export-2"),
        (KMS, "awskms", KMS.removeprefix("awskms:///")),
        ("awskms:///alias/acme/export", "awskms", "alias/acme/export"),
        ("awskms:///1234abcd-12ab-34cd-56ef-1234567890ab", "awskms", "1234abcd-12ab-34cd-56ef-1234567890ab"),
        ("file:///run/secrets/key.pem", "file", "/run/secrets/key.pem"),
        ("file:/run/my%20key", "file", "/run/my key"),
        ("pkcs11:token=export;object=acme", "pkcs11", "token=export;object=acme"),
    ],
)
def test_a_uri_names_a_key(text: str, scheme: str, name: str) -> None:
    found = key_uri.parse(text)
    assert (found.text, found.scheme, found.name) == (text, scheme, name)


def test_attributes_of_a_module_are_bytes() -> None:
    found = key_uri.parse("pkcs11:slot-id=3;id=%01%ff;object=a%3Bb")
    assert found.attributes == {"slot-id": b"3", "id": b"\x01\xff", "object": b"a;b"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gcpkms://projects/x", "awskms, file, hashivault, pkcs11"),
        ("acme", "none of the key services"),
        ("hashivault://vault.example.org/acme", "key's name alone"),
        ("hashivault://", "key's name alone"),
        ("hashivault://../sys/seal", "key's name alone"),
        ("hashivault://a?version=1", "key's name alone"),
        ("awskms://kms.example.org/alias/x", "awskms.endpoint"),
        ("awskms:///arn:aws:s3:::bucket", "key's id"),
        ("file://host/key.pem", "whole path"),
        ("file:key.pem", "whole path"),
        ("file:///run/../etc/key.pem", "without . and .."),
        ("file:///run/%2e%2e/key.pem", "without . and .."),
        ("pkcs11:object=acme", "must name a token"),
        ("pkcs11:token=export", "and an object"),
        ("pkcs11:token=a;token=b;object=c", "twice"),
        ("pkcs11:token=a;object=c;library-path=/x.so", "no attribute"),
        ("pkcs11:slot-id=x;object=c", "slot-id is a number"),
        ("hashivault://a\nb", "visible characters"),
        ("awskms:///" + "a" * 600, "at most"),
    ],
)
def test_what_names_no_key_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadKeyUri) as refused:
        key_uri.parse(text)
    assert reason in refused.value.what


def test_a_pin_or_a_module_in_a_uri_is_refused_and_not_repeated() -> None:
    for query in ("pin-value=1234secret", "module-path=/tmp/evil1234secret.so"):
        with pytest.raises(BadKeyUri) as refused:
            key_uri.parse(f"pkcs11:token=a;object=b?{query}")
        assert "1234secret" not in str(refused.value)
        assert "pkcs11.pinFile" in refused.value.what


@given(st.one_of(st.text(), st.tuples(st.sampled_from(key_uri.SCHEMES), st.text()).map(":".join)))
def test_any_text_names_a_key_or_is_refused(text: str) -> None:
    with suppress(BadKeyUri):
        assert key_uri.parse(text).text == text


class TestAllowed:
    @pytest.mark.parametrize(
        ("uri", "pattern"),
        [
            ("hashivault://acme", "hashivault://{tenant}"),
            ("hashivault://acme-2", "hashivault://{tenant}-*"),
            ("file:///run/secrets/acme/key.pem", "file:///run/secrets/{tenant}/*.pem"),
        ],
    )
    def test_a_pattern_lets_a_tenants_keys_pass(self, uri: str, pattern: str) -> None:
        key_uri.demand_allowed(key_uri.parse(uri), "acme", ["awskms:///x", pattern])

    @pytest.mark.parametrize(
        ("uri", "pattern"),
        [
            ("hashivault://other", "hashivault://{tenant}"),
            ("hashivault://acme2", "hashivault://{tenant}"),
            ("hashivault://xacme", "hashivault://*-{tenant}"),
            ("file:///run/secrets/acme/other/key.pem", "file:///run/secrets/{tenant}/*.pem"),
            ("hashivault://aXcme", "hashivault://a.cme"),
        ],
    )
    def test_what_no_pattern_names_is_refused(self, uri: str, pattern: str) -> None:
        with pytest.raises(KeyUriRefused, match="acme"):
            key_uri.demand_allowed(key_uri.parse(uri), "acme", [pattern])

    def test_without_patterns_nothing_is_allowed(self) -> None:
        with pytest.raises(KeyUriRefused):
            key_uri.demand_allowed(key_uri.parse("hashivault://acme"), "acme", [])

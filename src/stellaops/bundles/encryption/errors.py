"""What can be wrong with keys and with ciphertexts."""

from __future__ import annotations

from stellaops.core.errors import InvalidInput, MissingPrerequisite, NotTrusted


class InvalidRecipient(InvalidInput):
    """A text that is no public key of age."""

    code = "ERR_ENCRYPTION_RECIPIENT"
    hint = "Give a recipient as `age-keygen` prints it: age1 and 58 more characters."


class InvalidIdentity(InvalidInput):
    """A file or text that holds no private key of age."""

    code = "ERR_ENCRYPTION_IDENTITY"
    hint = "Give a file as `age-keygen` writes it, with a line that begins with AGE-SECRET-KEY-1."


class NoIdentity(MissingPrerequisite):
    """None of the private keys that were given opens this."""

    code = "ERR_ENCRYPTION_NO_IDENTITY"
    hint = (
        "Give the private key of one of the recipients with --identity; `stella mirror` also takes the URI of a key in "
        "a key service, which the offline kit cannot ask."
    )


class Undecipherable(NotTrusted):
    """A ciphertext that is not as it was written: cut off, changed, or of another form."""

    code = "ERR_ENCRYPTION_DAMAGED"
    hint = "Do not use it; fetch the bundle again from its source."

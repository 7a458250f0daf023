"""What goes wrong between a mirror host and the authority whose tokens it takes."""

from __future__ import annotations

from stellaops.core.errors import DependencyFailed


class AuthorityAway(DependencyFailed):
    """The authority does not give its keys, or does not say whether a token holds."""

    code = "ERR_AUTHORITY_UNREACHABLE"
    hint = "Look whether the address in …__AUTHORITY__URL answers at /authority/jwks."


class AuthorityLogin(DependencyFailed):
    """The authority does not take the mirror host's own client."""

    code = "ERR_AUTHORITY_LOGIN"
    hint = (
        "See that …__AUTHORITY__CLIENTSECRETFILE holds a secret of the client of …__AUTHORITY__CLIENTID, and that the "
        "client has the scope concelier.mirror.read or excititor.mirror.read."
    )

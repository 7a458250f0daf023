"""What can go wrong with a registry, beside `DistributionFailed`."""

from __future__ import annotations

from stellaops.core.errors import MissingPrerequisite, NotPermitted


class RegistryRefused(NotPermitted):
    """A registry does not let us in, or not do what was asked for."""

    code = "ERR_OCI_REFUSED"
    hint = "See that the login in the target's `dockerConfigFile` is valid and may push to the repository."


class LoginsUnusable(MissingPrerequisite):
    """The file with registry logins cannot be read, or has none for the registry in a form that can be used."""

    code = "ERR_OCI_LOGINS"
    hint = (
        "Have `dockerConfigFile` name a file as docker's `config.json`, with `auths` for the registry's host."
    )

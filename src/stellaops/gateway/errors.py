"""What a mirror host says to those whom it gives nothing."""

from __future__ import annotations

from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    QuotaExceeded,
)


class MirrorNotFound(NotFound):
    """A mirror has nothing under this path."""

    code = "ERR_MIRROR_NOT_FOUND"
    hint = "Follow the paths that the index names; exports that were superseded go after a day."


class MirrorCredentials(NotAuthenticated):
    """The domain asks for credentials, and none came, or none that hold for it."""

    code = "ERR_MIRROR_CREDENTIALS"
    hint = (
        "Send the user and password that the mirror's operator gave out for this domain, or an access token."
    )


class MirrorForbidden(NotPermitted):
    """The credentials hold, and do not open this."""

    code = "ERR_MIRROR_FORBIDDEN"
    hint = "Have the client given the scope of this mirror, for the domain's tenant."


class DomainMismatch(NotPermitted):
    """The host name stands for one domain, and the path names another."""

    code = "ERR_MIRROR_DOMAIN_MISMATCH"
    hint = "Ask the domain's own host name, or one that stands for no domain."


class MirrorQuota(QuotaExceeded):
    """The hourly budget of these credentials for this domain is used up."""

    code = "ERR_MIRROR_QUOTA"
    hint = "Ask again after as many seconds as Retry-After says; conditional requests and digests save downloads."


class MirrorBusy(QuotaExceeded):
    """Too many credentials wait to be checked, or were wrong."""

    code = "ERR_MIRROR_LOGIN_RATE"
    hint = "Ask again after as many seconds as Retry-After says."


class MirrorMethod(InvalidInput):
    """Mirrors are read: GET and HEAD."""

    code = "ERR_MIRROR_METHOD"
    hint = "Use GET or HEAD, without a body."


class MirrorRequest(InvalidInput):
    """The request is not in a form that is answered."""

    code = "ERR_MIRROR_REQUEST"
    hint = "Send one request of HTTP/1.1 with each header once, and no body."


class MirrorRange(InvalidInput):
    """The part that a request asks for begins after the end of the file."""

    code = "ERR_RANGE_NOT_SATISFIABLE"
    hint = "Ask for bytes within the length that Content-Range names."


class MirrorNotReady(DependencyFailed):
    """There is no export to serve (yet), or what checks credentials does not answer."""

    code = "ERR_MIRROR_NOT_READY"
    hint = "Look at /readyz: it names what is missing."


class MirrorRootMissing(MissingPrerequisite):
    """A side has no directory of exports."""

    code = "ERR_MIRROR_ROOT_MISSING"
    hint = "Set CONCELIER__MIRROR__EXPORTROOT and EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT, or switch the side off."

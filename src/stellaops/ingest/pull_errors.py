"""What can go wrong while files are fetched."""

from __future__ import annotations

from stellaops.core.errors import DependencyFailed, InvalidInput, NotFound, NotPermitted, NotTrusted


class FetchFailed(DependencyFailed):
    """A file could not be had; a later attempt may have it.

    Attributes:
        retry_after: seconds that the server asks to wait; None where it asks nothing.
    """

    code = "ERR_PULL_FETCH"
    hint = "Nothing stored was touched; pull again later, or look at the address that the message names."

    def __init__(self, what: str, *, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class ConnectionFailed(FetchFailed):
    """No connection, or one that broke."""

    code = "ERR_PULL_CONNECTION"
    hint = "Check the network, the proxy (egress.proxy) and the server; the next pull goes on where this one was."


class TlsFailed(FetchFailed):
    """The server's certificate is not trusted, or no TLS connection came about."""

    code = "ERR_PULL_TLS"
    hint = "For a certificate of your own authority name its file in the setting egress.caFile."


class ServerBusy(FetchFailed):
    """The server answers that it cannot (429, 5xx)."""

    code = "ERR_PULL_SERVER"
    hint = "Wait: the source is tried again at nextAttemptAt; `--now` tries at once."


class DownloadDamaged(FetchFailed):
    """What came is not what it should be: cut, of another length, no archive, another hash."""

    code = "ERR_PULL_DAMAGED"
    hint = "Nothing stored was touched; pull again, and tell the publisher if it stays."


class StatusUnexpected(FetchFailed):
    """The server answers with a status that makes no sense here."""

    code = "ERR_PULL_STATUS"
    hint = "Look at the address with a browser; the publisher may have moved."


class FileMissing(NotFound):
    """The server has no such file (404, 410)."""

    code = "ERR_PULL_NOT_FOUND"
    hint = "Check the source's URL and options: `stella concelier sources show NAME`."


class ServerRefuses(NotPermitted):
    """The server wants other credentials (401, 403)."""

    code = "ERR_PULL_NOT_PERMITTED"
    hint = "Check the credentials file of the source: `stella concelier sources show NAME`."


class DownloadTooLarge(InvalidInput):
    """A file is larger than any that is fetched."""

    code = "ERR_PULL_TOO_LARGE"
    hint = "Check that the URL is meant; raise the setting pull.maxFileSize if it is."


class SignatureWrong(NotTrusted):
    """A document does not agree with the signature beside it."""

    code = "ERR_PULL_SIGNATURE"
    hint = "Do not use the document; tell the publisher."


class PullBusy(DependencyFailed):
    """Another process pulls the source."""

    code = "ERR_PULL_BUSY"
    hint = "Wait for the other pull to end."


class PullFailed(DependencyFailed):
    """Some sources could not be pulled; the others were."""

    code = "ERR_PULL_FAILED"
    hint = "Pull again later; `stella concelier sources list` says when each source is tried again."

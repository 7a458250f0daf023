"""What can go wrong between a client and its server."""

from __future__ import annotations

from stellaops.core.errors import (
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotAuthenticated,
    NotFound,
    NotTrusted,
)


class ServerUnreachable(DependencyFailed):
    """The server does not answer."""

    code = "ERR_SERVER_UNREACHABLE"
    hint = "Check the address and that the server runs, then try again."


class ServerGone(ServerUnreachable):
    """The server was there, and the connection broke before its answer was whole."""

    code = "ERR_SERVER_GONE"
    hint = "Look whether what was asked has happened, then ask again when the server is back."


class ServerAnswerUnusable(DependencyFailed):
    """What answers is not a StellaOps server of a release that this one understands."""

    code = "ERR_SERVER_ANSWER"
    hint = "Check the address: it is that of the server itself, without /api. Look for a proxy in between."


class ServerRefused(InvalidInput):
    """A server's address that secrets are not sent to."""

    code = "ERR_SERVER_ADDRESS"
    hint = "Use https://host[:port]; for a server of your own without TLS add its host to the setting egress.allowHttp."


class NotOverServer(InvalidInput):
    """Something that works on a data directory was asked of a server."""

    code = "ERR_NOT_OVER_SERVER"
    hint = "Run it on the server's machine, or say --context local to work on the data directory of this one."


class ContextNotFound(NotFound):
    """No server is saved under this name."""

    code = "ERR_CONTEXT_NOT_FOUND"
    hint = "See `stella config context list`; `stella config context add` saves one."


class ContextsUnusable(InvalidInput):
    """The file of saved servers cannot be read or written."""

    code = "ERR_CONTEXTS_UNUSABLE"
    hint = "Correct or remove the file that the message names."


class LoginNeeded(NotAuthenticated):
    """There is no token, and nothing to get one with."""

    code = "ERR_LOGIN_NEEDED"
    hint = "Log in with `stella authority login --client ID`, or set STELLA_TOKEN."


class LoginRefused(NotAuthenticated):
    """The server does not take the client's secret."""

    code = "ERR_LOGIN_REFUSED"
    hint = "Check the client's id and secret; `stella authority client list` on the server shows what is in force."


class SecretFileUnusable(MissingPrerequisite):
    """The file with the client's secret cannot be read, or others can read it."""

    code = "ERR_CLIENT_SECRET_FILE"
    hint = "Put the secret alone into a file of mode 0600."


class DownloadCorrupt(NotTrusted):
    """A file came whole and is not the one that the run made."""

    code = "ERR_DOWNLOAD_CORRUPT"
    hint = (
        "Nothing was put in place. Download again; if it stays, have the server's store of artefacts checked."
    )


class FollowLost(DependencyFailed):
    """The server was away for longer than is waited for; the run itself goes on there."""

    code = "ERR_FOLLOW_LOST"
    hint = "Look at the run with `stella export run watch` when the server is back."

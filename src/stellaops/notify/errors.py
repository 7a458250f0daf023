"""The errors of notifications, with the codes that scripts know."""

from __future__ import annotations

from stellaops.core.errors import (
    AlreadyExists,
    Conflict,
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    QuotaExceeded,
)


class InvalidChannel(InvalidInput):
    """A channel that cannot be as it is asked for; all that is wrong is listed."""

    code = "ERR_NOTIFY_INVALID_CHANNEL"
    hint = "Correct what is listed; docs/operate/notifications.md describes every field."


class InvalidRule(InvalidInput):
    """A rule that cannot be as it is asked for; all that is wrong is listed."""

    code = "ERR_NOTIFY_INVALID_RULE"
    hint = "Correct what is listed; docs/operate/notifications.md describes every field."


class ChannelNotFound(NotFound):
    """The tenant has no such channel."""

    code = "ERR_NOTIFY_CHANNEL_NOT_FOUND"
    hint = "See `stella notify channel list`."


class RuleNotFound(NotFound):
    """The tenant has no such rule."""

    code = "ERR_NOTIFY_RULE_NOT_FOUND"
    hint = "See `stella notify rule list`."


class DeliveryNotFound(NotFound):
    """The tenant has no such delivery."""

    code = "ERR_NOTIFY_DELIVERY_NOT_FOUND"
    hint = "See `stella notify deliveries`."


class ChannelExists(AlreadyExists):
    """The tenant has a channel of this id."""

    code = "ERR_NOTIFY_CHANNEL_EXISTS"
    hint = "Choose another id, or change the channel with `stella notify channel update`."


class RuleExists(AlreadyExists):
    """The tenant has a rule of this id."""

    code = "ERR_NOTIFY_RULE_EXISTS"
    hint = "Choose another id, or change the rule with `stella notify rule update`."


class ChannelUsed(Conflict):
    """Rules send to the channel."""

    code = "ERR_NOTIFY_CHANNEL_USED"
    hint = "Delete the rules that the message names, or have them send elsewhere; then delete the channel."


class DeliveryNotFailed(Conflict):
    """Only what has failed can be sent again."""

    code = "ERR_NOTIFY_DELIVERY_STATE"
    hint = "Look at the delivery with `stella notify deliveries`; a pending one is sent by itself."


class SecretMissing(MissingPrerequisite):
    """The file of a channel's secret is not there, or cannot be read."""

    code = "ERR_NOTIFY_SECRET_MISSING"
    hint = (
        "Put it into the file that the message names, for the user that runs stella alone to read;"
        " where notify.secretsDir is not set, that is notify/secrets in the data directory."
    )


class MailUnset(MissingPrerequisite):
    """There is no mail server to send by."""

    code = "ERR_NOTIFY_MAIL_UNSET"
    hint = "Name one in the settings notify.smtp.host and notify.smtp.from."


class DeliveryFailed(DependencyFailed):
    """A channel does not take a message just now; a later attempt may do.

    Attributes:
        retry_after: seconds that the receiver asks to wait; None where it asks nothing.
    """

    code = "ERR_NOTIFY_DELIVERY"
    hint = "Look at the receiver that the message names; deliveries are tried again by themselves, tests are not."

    def __init__(self, what: str, *, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class DeliveryRefused(InvalidInput):
    """A receiver takes no message of this form, or with these credentials."""

    code = "ERR_NOTIFY_REFUSED"
    hint = "Correct the channel or its secret, try it with `stella notify test`, then send what failed again."


class NotifyRateExceeded(QuotaExceeded):
    """More tests, or more looks at the history of deliveries, than are allowed."""

    code = "ERR_NOTIFY_RATE"
    hint = "Wait as long as Retry-After says, or have the setting that the message names raised."

    def __init__(self, what: str, *, limit: int, reset: int) -> None:
        super().__init__(what)
        self.limit, self.remaining, self.reset = limit, 0, reset

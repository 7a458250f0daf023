"""Who may use the service, and how they prove it."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from stellaops.adapters.keys.link_keys import FileLinkKeys
from stellaops.adapters.sql.audit import SqlAudit
from stellaops.adapters.sql.authority import SqlClients, SqlTenants, SqlTokenKeys
from stellaops.adapters.sql.download_tokens import SqlDownloadTokens
from stellaops.adapters.sql.sessions import SqlSessions
from stellaops.authority.check_tokens import Access
from stellaops.authority.issue_tokens import Issuer
from stellaops.authority.keep_sessions import SessionKeeper
from stellaops.authority.login_limits import LoginLimits
from stellaops.authority.sessions import SessionLimits
from stellaops.authority.tokens import TokenSettings
from stellaops.bootstrap import clock
from stellaops.bootstrap.base import Base
from stellaops.bootstrap.extras import server_extra


class Authority(Base):
    """Who may use the service, and how they prove it."""

    @cached_property
    def tenants(self) -> SqlTenants:
        """The tenants of the service."""
        return SqlTenants(self.service_engine)

    @property
    def limits(self) -> SqlTenants:
        """How much each tenant may run."""
        return self.tenants

    @cached_property
    def clients(self) -> SqlClients:
        """The clients of the service."""
        return SqlClients(self.service_engine)

    @cached_property
    def download_tokens(self) -> SqlDownloadTokens:
        """Tokens that open downloads and nothing else."""
        return SqlDownloadTokens(self.service_engine)

    @cached_property
    def link_keys(self) -> FileLinkKeys:
        """What signs links to files of bundles."""
        return FileLinkKeys(self.data_dir / "authority" / "links")

    @cached_property
    def audit(self) -> SqlAudit:
        """The audit log."""
        return SqlAudit(self.service_engine)

    @cached_property
    def token_keys(self) -> SqlTokenKeys:
        """Public keys of access tokens."""
        return SqlTokenKeys(self.service_engine)

    @property
    def token_settings(self) -> TokenSettings:
        """What access tokens say, and for how long."""
        settings = self.settings
        return TokenSettings(
            settings.get("authority.issuer") or "",
            settings.get("authority.audience") or "",
            timedelta(seconds=settings.number("authority.tokenSeconds")),
            timedelta(days=settings.number("authority.keyDays")),
        )

    @cached_property
    def access(self) -> Access:
        """What tells who sends an access token."""
        with server_extra():
            from stellaops.adapters.tokens.jws import JwsReader  # noqa: PLC0415 - of the extra `server`
        return Access(self.token_keys, JwsReader(), self.token_settings, clock.now, clock.monotonic)

    @cached_property
    def login_limits(self) -> LoginLimits:
        """How often an address may log in at this process."""
        return LoginLimits()

    @cached_property
    def issuer(self) -> Issuer:
        """What gives access tokens to clients."""
        with server_extra():
            from stellaops.adapters.tokens.signing import FileTokenSigner  # noqa: PLC0415 - of the extra `server`
        signer = FileTokenSigner(
            self.data_dir / "authority", self.token_keys, self.token_settings, self._passphrase
        )
        return Issuer(self.clients, self.tenants, signer, self.token_settings, clock.now)

    @cached_property
    def session_keeper(self) -> SessionKeeper:
        """What keeps the sessions of the console."""
        limits = SessionLimits(
            timedelta(minutes=self.settings.number("console.session.idleMinutes")),
            timedelta(minutes=self.settings.number("console.session.longestMinutes")),
        )
        return SessionKeeper(SqlSessions(self.service_engine), self.issuer, limits, clock.now)

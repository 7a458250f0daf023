"""Every setting: its name, its variable, what it means, and what it is where nothing is said."""

from __future__ import annotations

FIELDS = {
    "dataDir": ("STELLA_DATA_DIR", "where evidence, keys and exports lie"),
    "tenant": ("STELLA_TENANT", "whose profiles, keys and runs are meant"),
    "server": ("STELLA_SERVER", "address of a server that is asked instead of the data directory"),
    "context": ("STELLA_CONTEXT", "name of a saved server that is asked; `local` for the data directory"),
    "token": ("STELLA_TOKEN", "access token for the server; else one is got with the client's secret"),
    "client": ("STELLA_CLIENT", "client that logs in to the server; else that of the saved server"),
    "clientSecretFile": ("STELLA_CLIENT_SECRET_FILE", "file with the client's secret, of mode 0600"),
    "trivy": ("STELLA_TRIVY", "path of the trivy program"),
    "keyPassphraseFile": ("STELLA_KEY_PASSPHRASE_FILE", "file with the passphrase of private keys"),
    "store.evidence": (
        "STELLA_STORE_EVIDENCE",
        "`postgresql://ROLE@HOST:PORT/DATABASE` of the evidence store; else a file in the data directory",
    ),
    "store.service": ("STELLA_STORE_SERVICE", "the same for profiles and records of runs"),
    "store.passwordFile": ("STELLA_STORE_PASSWORD_FILE", "file with the password of the role; else libpq's"),
    "artefacts.store": (
        "STELLA_ARTEFACTS_STORE",
        "`s3://BUCKET/PREFIX` where finished bundles are kept; else `exports` in the data directory",
    ),
    "artefacts.endpoint": (
        "STELLA_ARTEFACTS_ENDPOINT",
        "URL of an S3-compatible server that is not AWS's own; plain HTTP only to hosts of `egress.allowHttp`",
    ),
    "artefacts.region": ("STELLA_ARTEFACTS_REGION", "region of the bucket; else the one of the key's file"),
    "artefacts.keyFile": (
        "STELLA_ARTEFACTS_KEY_FILE",
        "file with the access key, as AWS's `credentials`; else what the machine itself may do",
    ),
    "keyServices.allow": (
        "STELLA_KEY_SERVICES_ALLOW",
        "keys of key services that tenants may use, as `hashivault://{tenant}`; a list; `*` stands for a part",
    ),
    "keyServices.firstKey": (
        "STELLA_KEY_SERVICES_FIRST_KEY",
        "URI of the key that a tenant without one gets, as `hashivault://{tenant}`; else one is made in a file",
    ),
    "keyServices.attempts": ("STELLA_KEY_SERVICES_ATTEMPTS", "how often a key service that fails is asked"),
    "keyServices.timeoutSeconds": (
        "STELLA_KEY_SERVICES_TIMEOUT_SECONDS",
        "the longest wait for an answer of a key service",
    ),
    "hashivault.address": (
        "STELLA_HASHIVAULT_ADDRESS",
        "URL of HashiCorp Vault or OpenBao; else `VAULT_ADDR`",
    ),
    "hashivault.tokenFile": (
        "STELLA_HASHIVAULT_TOKEN_FILE",
        "file with the token, of mode 0600; read for each request; may hold `{tenant}`",
    ),
    "hashivault.namespace": (
        "STELLA_HASHIVAULT_NAMESPACE",
        "namespace of the keys; may hold `{tenant}`; else `VAULT_NAMESPACE`",
    ),
    "hashivault.mount": (
        "STELLA_HASHIVAULT_MOUNT",
        "path of the transit engine; may hold `{tenant}`; else `TRANSIT_SECRET_ENGINE_PATH`",
    ),
    "hashivault.caFile": (
        "STELLA_HASHIVAULT_CA_FILE",
        "PEM certificates of the vault's authority; else `VAULT_CACERT`, else `egress.caFile`",
    ),
    "pkcs11.module": (
        "STELLA_PKCS11_MODULE",
        "path of the PKCS#11 module, as `/usr/lib/softhsm/libsofthsm2.so`",
    ),
    "pkcs11.pinFile": ("STELLA_PKCS11_PIN_FILE", "file with the PIN, of mode 0600; may hold `{tenant}`"),
    "awskms.endpoint": ("STELLA_AWSKMS_ENDPOINT", "URL of AWS KMS where it is not the region's own"),
    "awskms.region": (
        "STELLA_AWSKMS_REGION",
        "region of the keys; else the one of the key's file or of the machine",
    ),
    "awskms.keyFile": (
        "STELLA_AWSKMS_KEY_FILE",
        "file with the access key, as AWS's `credentials`; may hold `{tenant}`; else what the machine may do",
    ),
    "mirror.endpoint": (
        "STELLA_MIRROR_ENDPOINT",
        "URL of an S3-compatible server for buckets of mirrors; plain HTTP only to hosts of `egress.allowHttp`",
    ),
    "mirror.region": ("STELLA_MIRROR_REGION", "region of such a bucket; else the one of the key's file"),
    "mirror.keyFile": (
        "STELLA_MIRROR_KEY_FILE",
        "file with the access key for it, as AWS's `credentials`; else what the machine itself may do",
    ),
    "mirror.dockerConfigFile": (
        "STELLA_MIRROR_DOCKER_CONFIG_FILE",
        "file with logins as docker's `config.json`, for mirrors in registries; else one asks as nobody",
    ),
    "egress.offline": ("STELLA_OFFLINE", "`true` refuses every fetch over the network"),
    "egress.allowPrivate": (
        "STELLA_EGRESS_ALLOW_PRIVATE",
        "private networks that may be fetched from, as `10.1.0.0/16`; a list",
    ),
    "egress.allowHttp": ("STELLA_EGRESS_ALLOW_HTTP", "hosts that may be fetched from without TLS; a list"),
    "egress.proxy": ("STELLA_EGRESS_PROXY", "URL of the proxy; else `HTTPS_PROXY` or `ALL_PROXY`"),
    "egress.noProxy": (
        "STELLA_EGRESS_NO_PROXY",
        "hosts, domains, networks without proxy; a list; else `NO_PROXY`",
    ),
    "egress.caFile": ("STELLA_EGRESS_CA_FILE", "PEM certificates to trust beside the system's"),
    "pull.parallel": ("STELLA_PULL_PARALLEL", "downloads at once"),
    "pull.maxFileSize": ("STELLA_PULL_MAX_FILE_SIZE", "bytes of the largest file that is fetched"),
    "api.maxBody": ("STELLA_API_MAX_BODY", "bytes of the largest body that is read into memory"),
    "api.maxUpload": ("STELLA_API_MAX_UPLOAD", "bytes of the largest upload"),
    "api.requestsPerMinute": (
        "STELLA_API_REQUESTS_PER_MINUTE",
        "requests of one client, or of one address without a valid token; a tenth of it at once",
    ),
    "api.publicUrl": (
        "STELLA_API_PUBLIC_URL",
        "`https://HOST` by which others reach the API; else links name the host that they were asked for at",
    ),
    "api.metricsFrom": (
        "STELLA_API_METRICS_FROM",
        "networks that may read `/metrics` without a token, as `10.1.0.0/16`; a list",
    ),
    "console.oidc.issuer": (
        "STELLA_CONSOLE_OIDC_ISSUER",
        "URL of the identity provider that people log in to the console by; none where nothing is said",
    ),
    "console.oidc.name": ("STELLA_CONSOLE_OIDC_NAME", "what the button to it says"),
    "console.oidc.clientId": (
        "STELLA_CONSOLE_OIDC_CLIENT_ID",
        "as which client the provider knows the console",
    ),
    "console.oidc.clientSecretFile": (
        "STELLA_CONSOLE_OIDC_CLIENT_SECRET_FILE",
        "file with the secret that the provider gave that client, of mode 0600",
    ),
    "console.oidc.scopes": ("STELLA_CONSOLE_OIDC_SCOPES", "what is asked of the provider, apart by spaces"),
    "console.oidc.claim": ("STELLA_CONSOLE_OIDC_CLAIM", "claim with the groups of a person"),
    "console.oidc.roles": (
        "STELLA_CONSOLE_OIDC_ROLES",
        "which client of Authority a group acts as, `GROUP=CLIENT`, the most first; a list",
    ),
    "console.session.idleMinutes": (
        "STELLA_CONSOLE_SESSION_IDLE_MINUTES",
        "after how many minutes without a use a session of the console ends",
    ),
    "console.session.longestMinutes": (
        "STELLA_CONSOLE_SESSION_LONGEST_MINUTES",
        "after how many minutes a session of the console ends, however much it is used",
    ),
    "log.level": ("STELLA_LOG_LEVEL", "`debug`, `info`, `warning` or `error`: what services log"),
    "log.file": (
        "STELLA_LOG_FILE",
        "file that commands add their events to, as lines of JSON; services log to standard error",
    ),
    "worker.slots": (
        "STELLA_WORKER_SLOTS",
        "weight of what a worker works on at once; else 6 for every 4 CPUs",
    ),
    "worker.timeLimit": ("STELLA_WORKER_TIME_LIMIT", "how long an attempt of a run may take, as `90m`"),
    "worker.graceSeconds": ("STELLA_WORKER_GRACE_SECONDS", "how long a worker that ends waits for its runs"),
    "chores.retentionAt": (
        "STELLA_CHORES_RETENTION_AT",
        "from when on, every day, a worker removes what is over, as `02:30` (UTC); `off` for never",
    ),
    "chores.verifyAt": (
        "STELLA_CHORES_VERIFY_AT",
        "from when on, every day, a worker fetches the newest bundles back from their targets and verifies them",
    ),
    "notify.secretsDir": (
        "STELLA_NOTIFY_SECRETS_DIR",
        "folder of the secrets that channels name, `TENANT/NAME` in it; else `notify/secrets` in the data directory",
    ),
    "notify.smtp.host": ("STELLA_NOTIFY_SMTP_HOST", "mail server that channels of kind `email` send by"),
    "notify.smtp.port": ("STELLA_NOTIFY_SMTP_PORT", "its port"),
    "notify.smtp.security": (
        "STELLA_NOTIFY_SMTP_SECURITY",
        "`starttls`, `tls` (from the first byte) or `none` (then without login)",
    ),
    "notify.smtp.username": (
        "STELLA_NOTIFY_SMTP_USERNAME",
        "account at the mail server, where it asks for one",
    ),
    "notify.smtp.passwordFile": (
        "STELLA_NOTIFY_SMTP_PASSWORD_FILE",
        "file with the account's password, of mode 0600; read for each message",
    ),
    "notify.smtp.from": ("STELLA_NOTIFY_SMTP_FROM", "address that messages come from"),
    "notify.smtp.caFile": (
        "STELLA_NOTIFY_SMTP_CA_FILE",
        "PEM certificates of the mail server's authority; else `egress.caFile`",
    ),
    "notify.smtp.allowDomains": (
        "STELLA_NOTIFY_SMTP_ALLOW_DOMAINS",
        "domains that channels may write to; any where nothing is said; a list",
    ),
    "notify.attempts": ("STELLA_NOTIFY_ATTEMPTS", "how often a message is tried before it is given up"),
    "notify.keepDays": ("STELLA_NOTIFY_KEEP_DAYS", "days for which ended deliveries are remembered"),
    "notify.expiryNotice": (
        "STELLA_NOTIFY_EXPIRY_NOTICE",
        "how long before a secret or a token ends `key.expiring` tells, as `14d`",
    ),
    "notify.rateLimits.testSend": (
        "STELLA_NOTIFY_RATE_LIMITS_TEST_SEND",
        "tests of channels that a client may send, as `10/1m`: so many at once, and again in that time",
    ),
    "notify.rateLimits.deliveryHistory": (
        "STELLA_NOTIFY_RATE_LIMITS_DELIVERY_HISTORY",
        "looks at the history of deliveries, likewise",
    ),
    "authority.issuer": ("STELLA_AUTHORITY_ISSUER", "`iss` of access tokens; the same in every process"),
    "authority.audience": ("STELLA_AUTHORITY_AUDIENCE", "`aud` of access tokens; the same in every process"),
    "authority.tokenSeconds": ("STELLA_AUTHORITY_TOKEN_SECONDS", "how long access tokens live: 30 to 900"),
    "authority.keyDays": (
        "STELLA_AUTHORITY_KEY_DAYS",
        "how long a key signs access tokens before the next one does",
    ),
    "authority.credentialDays": (
        "STELLA_AUTHORITY_CREDENTIAL_DAYS",
        "how old a client's secret may get before it is time to rotate it; `off` for any age",
    ),
}

FIELDS |= {
    f"retention.{kind}.{part}": (
        f"EXPORTCENTER__RETENTION__{kind.upper()}__{part.upper()}",
        meaning.format(kind),
    )
    for kind in ("json", "mirror", "trivy")
    for part, meaning in (
        ("mode", "`days` or `count`: what bundles of {} are kept by, where their profile says nothing"),
        ("value", "how many days after their runs, or how many of the newest"),
    )
}
FIELDS["retention.evidenceGrace"] = (
    "EXPORTCENTER__RETENTION__EVIDENCEGRACE",
    "how long evidence that no run needs stays for whoever reads it just now, as `24h`",
)

SECRET = frozenset({"token"})
"""Settings whose values are shown nowhere."""

STANDARD = {
    "egress.proxy": ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
    "egress.noProxy": ("NO_PROXY", "no_proxy"),
    "hashivault.address": ("VAULT_ADDR", "BAO_ADDR"),
    "hashivault.namespace": ("VAULT_NAMESPACE", "BAO_NAMESPACE"),
    "hashivault.caFile": ("VAULT_CACERT", "BAO_CACERT"),
    "hashivault.mount": ("TRANSIT_SECRET_ENGINE_PATH",),
}
"""Variables that other programs know too; ours come first."""
DEFAULTS = {
    "tenant": "default",
    "keyServices.attempts": "5",
    "keyServices.timeoutSeconds": "10",
    "hashivault.mount": "transit",
    "pull.parallel": "4",
    "pull.maxFileSize": str(8 << 30),
    "api.maxBody": str(1 << 20),
    "api.maxUpload": str(4 << 30),
    "api.requestsPerMinute": "6000",
    "api.metricsFrom": "127.0.0.0/8,::1/128",
    "console.oidc.name": "single sign-on",
    "console.oidc.scopes": "openid profile email groups",
    "console.oidc.claim": "groups",
    "console.session.idleMinutes": "30",
    "console.session.longestMinutes": "720",
    "log.level": "info",
    "retention.json.mode": "days",
    "retention.json.value": "30",
    "retention.mirror.mode": "days",
    "retention.mirror.value": "30",
    "retention.trivy.mode": "count",
    "retention.trivy.value": "10",
    "retention.evidenceGrace": "24h",
    "worker.timeLimit": "2h",
    "worker.graceSeconds": "3",
    "chores.retentionAt": "02:00",
    "chores.verifyAt": "03:00",
    "authority.issuer": "stellaops",
    "authority.audience": "stellaops",
    "authority.tokenSeconds": "900",
    "authority.keyDays": "30",
    "authority.credentialDays": "90",
    "notify.smtp.port": "587",
    "notify.smtp.security": "starttls",
    "notify.attempts": "8",
    "notify.keepDays": "30",
    "notify.expiryNotice": "14d",
    "notify.rateLimits.testSend": "10/1m",
    "notify.rateLimits.deliveryHistory": "120/1m",
}

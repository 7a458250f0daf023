"""A configuration of nginx that stands before back ends and asks the gateway who may have what. Pure.

Every request is first shown to the gateway (`auth_request`): it knows users, tokens and budgets, and answers with the
audience, which is a part of the cache's key. So what one audience got from the cache no other one gets, and nothing of
the credentials is written to disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from stellaops.adapters.settings.mirrors import Domain, MirrorHost
from stellaops.core.errors import InvalidInput
from stellaops.gateway.requests import AUTHORIZE


class BadProxySettings(InvalidInput):
    """No configuration of a proxy can be made of these settings."""

    code = "ERR_MIRROR_PROXY"
    hint = (
        "Give addresses as http://host:port, and every domain host names and a certificate where one has one."
    )


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where nginx finds what.

    Attributes:
        gateway: address of the process that is asked who may have what.
        concelier, excititor: addresses of the back ends.
        listen: address and port, as nginx has them; all addresses, and the port of HTTPS or HTTP, when None.
        cache: directory for what is kept.
        place: directory of nginx's own files, such as its pid.
    """

    gateway: str
    concelier: str
    excititor: str
    listen: str | None
    cache: Path
    place: Path
    workers: int = 2


_MAIN = Template("""\
# Made by `stella mirror render-gateway nginx`; change the settings and make it again.
worker_processes $workers;
worker_rlimit_nofile 16384;
pid $place/nginx.pid;
error_log $place/error.log error;
events { worker_connections 4096; }

http {
  server_tokens off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  gzip off;
  keepalive_requests 100000;
  client_body_temp_path $place/client;
  proxy_temp_path $place/proxy;
  fastcgi_temp_path $place/fastcgi;
  uwsgi_temp_path $place/uwsgi;
  scgi_temp_path $place/scgi;

  # Who sends too much or too slowly.
  client_header_timeout 15s;
  client_body_timeout 15s;
  send_timeout 60s;
  client_max_body_size 1k;
  large_client_header_buffers 4 16k;
  limit_req_zone $$binary_remote_addr zone=stella_address:16m rate=1000r/s;
  limit_req_status 429;

  # Without the query; a path with anything else than printable ASCII is none at all.
  map $$request_uri $$stella_path { default ""; "~^(?<before>[!->@-~]+)(?:\\?|$$)" $$before; }
  map $$http_accept_encoding $$stella_coding {
    default "";
    "~*\\bzstd\\b(?!\\s*;\\s*q=0)" zstd;
    "~*\\bgzip\\b(?!\\s*;\\s*q=0)" gzip;
  }

  log_format stella escape=json '{"time":"$$time_iso8601","event":"mirror.access","remote":"$$remote_addr",'
    '"method":"$$request_method","host":"$$host","path":"$$stella_path","status":$$status,"bytes":$$body_bytes_sent,'
    '"seconds":$$request_time,"domain":"$$stella_domain","credential":"$$stella_caller",'
    '"cacheStatus":"$$upstream_cache_status","userAgent":"$$http_user_agent"}';
  access_log $place/access.log stella;

  upstream stella_gateway { server $gateway; keepalive 64; }
  upstream stella_concelier { server $concelier; keepalive 16; }
  upstream stella_excititor { server $excititor; keepalive 16; }

  proxy_http_version 1.1;
  proxy_cache_path $cache levels=1:2 keys_zone=stella:64m max_size=20g inactive=24h use_temp_path=off;
  proxy_cache_key "$$stella_audience|$$host|$$stella_path|$$stella_coding";
  # The audience stands in the key, and so does the coding.
  proxy_ignore_headers Cache-Control Expires Vary Set-Cookie X-Accel-Expires;
  proxy_cache_valid 200 60s;
  proxy_cache_lock on;
  proxy_cache_revalidate on;
  proxy_cache_background_update on;
  proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
$servers
}
""")

_SERVER = Template("""
  server {
    listen $listen;
    server_name $names;
$tls
    location = $authorize_here {
      internal;
      proxy_pass http://stella_gateway$authorize;
      proxy_pass_request_body off;
      proxy_cache off;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
      proxy_set_header Host $$host;
      proxy_set_header X-Original-URI $$stella_path;
      proxy_set_header X-Original-Method $$request_method;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Proto $$scheme;
    }

    set $$stella_audience "";
    set $$stella_domain "";
    set $$stella_caller "";
    auth_request_set $$stella_audience $$upstream_http_x_stella_audience;
    auth_request_set $$stella_domain $$upstream_http_x_stella_domain;
    auth_request_set $$stella_caller $$upstream_http_x_stella_caller;
    auth_request_set $$stella_challenge $$upstream_http_www_authenticate;
    auth_request_set $$stella_status $$upstream_http_x_stella_status;
    auth_request_set $$stella_code $$upstream_http_x_stella_code;
    auth_request_set $$stella_retry $$upstream_http_retry_after;
    auth_request_set $$stella_limit $$upstream_http_ratelimit_limit;
    auth_request_set $$stella_remaining $$upstream_http_ratelimit_remaining;
    auth_request_set $$stella_reset $$upstream_http_ratelimit_reset;

    limit_req zone=stella_address burst=4000 nodelay;
    error_page 403 = @refused;
    error_page 401 = @unknown;
    error_page 429 = @hasty;
    error_page 500 502 504 = @away;
$locations
    location = /healthz { default_type application/json; return 200 '{"status":"ok"}'; }
    location / { default_type application/problem+json; return 404 '{"status":404,"code":"ERR_MIRROR_NOT_FOUND"}'; }

    location @unknown {
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      add_header WWW-Authenticate $$stella_challenge always;
      return 401 '{"status":401,"code":"ERR_MIRROR_CREDENTIALS"}';
    }
    location @away {
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      add_header Retry-After 5 always;
      return 503 '{"status":503,"code":"ERR_MIRROR_NOT_READY"}';
    }
    location @hasty {
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      add_header Retry-After 1 always;
      return 429 '{"status":429,"code":"ERR_MIRROR_LOGIN_RATE"}';
    }
    location @refused {
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      add_header Retry-After $$stella_retry always;
      add_header RateLimit-Limit $$stella_limit always;
      add_header RateLimit-Remaining $$stella_remaining always;
      add_header RateLimit-Reset $$stella_reset always;
      if ($$stella_status = 400) { return 400 '{"status":400,"code":"$$stella_code"}'; }
      if ($$stella_status = 404) { return 404 '{"status":404,"code":"$$stella_code"}'; }
      if ($$stella_status = 405) { return 405 '{"status":405,"code":"$$stella_code"}'; }
      if ($$stella_status = 429) { return 429 '{"status":429,"code":"$$stella_code"}'; }
      if ($$stella_status = 503) { return 503 '{"status":503,"code":"$$stella_code"}'; }
      return 403 '{"status":403,"code":"$$stella_code"}';
    }
  }
""")

_LOCATION = Template("""
    location $match {
      auth_request $authorize_here;
      proxy_pass http://$upstream;
      $cache
      proxy_set_header Connection "";
      proxy_set_header Host $$host;
      proxy_set_header Accept-Encoding $$stella_coding;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Proto $$scheme;
      proxy_hide_header X-Cache-Status;
      add_header X-Cache-Status $$upstream_cache_status;
      add_header RateLimit-Limit $$stella_limit;
      add_header RateLimit-Remaining $$stella_remaining;
      add_header RateLimit-Reset $$stella_reset;
    }
""")
_TLS = Template("""\
    ssl_certificate $chain;
    ssl_certificate_key $key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:stella_tls:10m;
    ssl_session_tickets off;
    add_header Strict-Transport-Security "max-age=31536000" always;
""")
_REJECTED = Template("""
  server { listen $listen default_server; server_name _; ssl_reject_handshake on; }
""")
_HERE = "/_authorize"
_NO_DOMAIN = (
    "Run it with the settings of the gateway; `stella mirror domains settings` prints those of the domains."
)
_CONTENT = (
    ("/concelier/", "stella_concelier"), ("/osv/", "stella_concelier"), ("/v2/", "stella_concelier"),
    ("= /mirror-key.pub", "stella_concelier"), ("/excititor/", "stella_excititor"), ("/vex/", "stella_excititor"),
    ("= /.well-known/vex-repository.json", "stella_excititor"), ("= /.well-known/api-policy.json", "stella_gateway"),
)  # fmt: skip


def render(host: MirrorHost, proxy: Proxy) -> str:
    """The whole configuration.

    Raises:
        BadProxySettings: see there.
    """
    if not host.domains:
        raise BadProxySettings("no domain is configured", hint=_NO_DOMAIN)
    secured = [each for each in host.domains.values() if each.tls_certificate_file is not None]
    if secured and any(not each.hosts for each in secured):
        raise BadProxySettings("a domain has a certificate and no host name")
    if secured and len(secured) != len(host.domains):
        raise BadProxySettings("some domains have a certificate and others have none")
    if secured:
        listen = f"{proxy.listen or '0.0.0.0:443'} ssl"
        servers = [_REJECTED.substitute(listen=listen), *(_server(listen, each) for each in secured)]
    else:
        servers = [_server(f"{proxy.listen or '0.0.0.0:80'} default_server", None)]
    return _MAIN.substitute(
        workers=proxy.workers, place=_plain(proxy.place), cache=_plain(proxy.cache),
        gateway=_address(proxy.gateway), concelier=_address(proxy.concelier), excititor=_address(proxy.excititor),
        servers="".join(servers),
    )  # fmt: skip


def _server(listen: str, domain: Domain | None) -> str:
    locations = [
        _LOCATION.substitute(
            match=match, upstream=upstream, authorize_here=_HERE,
            cache="proxy_cache off;" if upstream == "stella_gateway" else "proxy_cache stella;",
        )
        for match, upstream in _CONTENT
    ]  # fmt: skip
    tls = ""
    if domain is not None and domain.tls_certificate_file and domain.tls_key_file:
        tls = _TLS.substitute(chain=_plain(domain.tls_certificate_file), key=_plain(domain.tls_key_file))
    return _SERVER.substitute(
        listen=listen, names=" ".join(domain.hosts) if domain else "_", tls=tls, authorize=AUTHORIZE.decode(),
        authorize_here=_HERE, locations="".join(locations),
    )  # fmt: skip


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise BadProxySettings(f"{url[:80]!r} is no address of a back end")
    return f"{parts.hostname}:{parts.port or 80}"


def _plain(path: Path) -> str:
    """A path as nginx takes it without quotes."""
    text = str(path)
    if not path.is_absolute() or any(each in text for each in " ;{}\"'$\\\n\t"):
        raise BadProxySettings(f"{text[:120]!r} is no absolute path without spaces and quotes")
    return text

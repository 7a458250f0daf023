"""The parts of the configuration, with `$name` for what is filled in and `$$name` for what nginx itself knows."""

from __future__ import annotations

from string import Template

MAIN = Template("""\
# Made by `stella mirror render-gateway nginx`; change the settings and make it again.
${modules}worker_processes $workers;
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
  max_ranges 1;
  client_body_temp_path $place/client;
  proxy_temp_path $place/proxy;
  fastcgi_temp_path $place/fastcgi;
  uwsgi_temp_path $place/uwsgi;
  scgi_temp_path $place/scgi;
  open_file_cache max=4096 inactive=60s;

  # Who sends too much or too slowly.
  client_header_timeout 15s;
  client_body_timeout 15s;
  send_timeout 60s;
  client_max_body_size 1k;
  large_client_header_buffers 4 16k;
  limit_req_zone $$binary_remote_addr zone=stella_address:16m rate=1000r/s;
  limit_req_status 429;
$addresses
  # Without the query; a path with anything else than printable ASCII is none at all.
  map $$request_uri $$stella_path { default ""; "~^(?<before>[!->@-~]+)(?:\\?|$$)" $$before; }
  map $$http_accept_encoding $$stella_coding {
    default "";
    "~*\\bzstd\\b(?!\\s*;\\s*q=0)" zstd;
    "~*\\bgzip\\b(?!\\s*;\\s*q=0)" gzip;
  }
  # Mirrors are read: no request has a body.
  map "$$http_transfer_encoding,$$http_content_length" $$stella_body { default 1; "," 0; ",0" 0; }
  # What clients put behind the name, where the port is not the usual one.
  map "$$scheme:$$server_port" $$stella_port { default ":$$server_port"; "http:80" ""; "https:443" ""; }
  map $$request_method $$stella_plain { default 0; GET 1; HEAD 1; }
  map $$stella_status $$stella_allow { default ""; 405 "GET, HEAD"; }

  log_format stella escape=json '{"time":"$$time_iso8601","event":"mirror.access","remote":"$$remote_addr",'
    '"method":"$$request_method","host":"$$host","path":"$$stella_path","status":$$status,"bytes":$$body_bytes_sent,'
    '"seconds":$$request_time,"domain":"$$stella_domain","class":"$$stella_class","credential":"$$stella_caller",'
    '"code":"$$stella_code","cacheStatus":"$$upstream_cache_status","userAgent":"$$http_user_agent"}';
  access_log $place/access.log stella buffer=64k flush=1s;

  upstream stella_gateway { server $gateway; keepalive 64; }
  upstream stella_concelier { server $concelier; keepalive 16; }
  upstream stella_excititor { server $excititor; keepalive 16; }

  proxy_http_version 1.1;
  proxy_connect_timeout 5s;
  proxy_cache_path $cache levels=1:2 keys_zone=stella:64m max_size=20g inactive=24h use_temp_path=off;
  proxy_cache_key "$$stella_audience|$$host|$$stella_path|$$stella_coding";
  # The audience stands in the key, and so does the coding.
  proxy_ignore_headers Cache-Control Expires Vary Set-Cookie X-Accel-Expires;
  proxy_cache_valid 200 60s;
  proxy_cache_lock on;
  proxy_cache_revalidate on;
  # Whoever comes first after a minute waits for what holds now; what was kept is for those who come meanwhile, and
  # stands in for a back end that is away.
  proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
$lua$servers
}
""")

LUA_MODULES = Template("""\
load_module $modules/ndk_http_module.so;
load_module $modules/ngx_http_lua_module.so;
""")
LUA = Template("""
  lua_shared_dict stella_door 32m;
$resolver  init_by_lua_block {
    package.loaded.stella_door = (function()
$door
    end)()
  }
  init_worker_by_lua_block { require("stella_door").start("$host", $port) }
""")

SERVER = Template("""
  server {
    listen $listen;
    server_name $names;
$tls
    location = $authorize_here {
      internal;
      proxy_pass http://stella_gateway$authorize;
      proxy_pass_request_body off;
$open      proxy_buffer_size 16k;
      proxy_buffers 4 16k;
      proxy_connect_timeout 2s;
      proxy_read_timeout 20s;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
      proxy_set_header Host $$host;
      proxy_set_header X-Original-URI $$stella_path;
      proxy_set_header X-Original-Method $$request_method;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Proto $$scheme;
      proxy_set_header X-Stella-Lend $lend;
    }

    set $$stella_audience "";
    set $$stella_domain "";
    set $$stella_class "";
    set $$stella_caller "";
    set $$stella_status "";
    set $$stella_code "";
    set $$stella_problem "";
    set $$stella_challenge "";
    set $$stella_range "";
    set $$stella_retry "";
    set $$stella_limit "";
    set $$stella_remaining "";
    set $$stella_reset "";
$told
    if ($$stella_body) { return 400; }
    if ($$server_protocol = HTTP/0.9) { return 400; }
    limit_req zone=stella_address burst=4000 nodelay;
$locations
    location = /healthz { default_type application/json; return 200 '{"status":"ok"}'; }
    location / {
      default_type application/problem+json;
      add_header Cache-Control no-store always;
      return 404 '{"status":404,"code":"ERR_MIRROR_NOT_FOUND"}';
    }
$refusals  }
""")

# What is open to all the gateway need not be asked about each time; it says where that is so.
OPEN = """\
      proxy_cache stella;
      proxy_cache_key "?|$host|$stella_path|$stella_coding|$request_method";
      proxy_cache_bypass $http_authorization $http_range;
      proxy_no_cache $http_authorization $http_range;
      proxy_ignore_headers Cache-Control Expires Vary Set-Cookie;
      proxy_cache_use_stale off;
      # Where answers may be kept nginx asks for the whole; the gateway has to hear what the client asks for.
      proxy_set_header Range $http_range;
      proxy_set_header If-Range $http_if_range;
      proxy_set_header If-None-Match $http_if_none_match;
"""

TOLD = """
    auth_request_set $stella_audience $upstream_http_x_stella_audience;
    auth_request_set $stella_domain $upstream_http_x_stella_domain;
    auth_request_set $stella_class $upstream_http_x_stella_class;
    auth_request_set $stella_caller $upstream_http_x_stella_caller;
    auth_request_set $stella_challenge $upstream_http_www_authenticate;
    auth_request_set $stella_status $upstream_http_x_stella_status;
    auth_request_set $stella_code $upstream_http_x_stella_code;
    auth_request_set $stella_problem $upstream_http_x_stella_problem;
    auth_request_set $stella_range $upstream_http_content_range;
    auth_request_set $stella_retry $upstream_http_retry_after;
    auth_request_set $stella_limit $upstream_http_ratelimit_limit;
    auth_request_set $stella_remaining $upstream_http_ratelimit_remaining;
    auth_request_set $stella_reset $upstream_http_ratelimit_reset;
"""

LOCATION = Template("""
    location $match {
      $ask
      proxy_pass http://$upstream;
      $cache
      proxy_set_header Connection "";
      proxy_set_header Host $$host$$stella_port;
      proxy_set_header Accept-Encoding $$stella_coding;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Proto $$scheme;
      proxy_hide_header X-Cache-Status;
      proxy_hide_header RateLimit-Limit;
      proxy_hide_header RateLimit-Remaining;
      proxy_hide_header RateLimit-Reset;
      add_header X-Cache-Status $$upstream_cache_status;
      add_header RateLimit-Limit $$stella_limit;
      add_header RateLimit-Remaining $$stella_remaining;
      add_header RateLimit-Reset $$stella_reset;$secured
      error_page 401 = @unknown$form;
      error_page 403 = @refused$form;
      error_page 429 = @hasty$form;
      error_page 500 502 503 504 = @away$form;
    }
""")

REFUSALS = Template("""
    location @unknown$form {
      default_type $media;
      add_header Cache-Control no-store always;
      add_header X-Content-Type-Options nosniff always;
      add_header WWW-Authenticate $$stella_challenge always;$secured
      return 401 $$stella_problem;
    }
    location @refused$form {
      default_type $media;
      add_header Cache-Control no-store always;
      add_header X-Content-Type-Options nosniff always;
      add_header Allow $$stella_allow always;
      add_header Content-Range $$stella_range always;
      add_header Retry-After $$stella_retry always;
      add_header RateLimit-Limit $$stella_limit always;
      add_header RateLimit-Remaining $$stella_remaining always;
      add_header RateLimit-Reset $$stella_reset always;$secured
      if ($$stella_status = 400) { return 400 $$stella_problem; }
      if ($$stella_status = 404) { return 404 $$stella_problem; }
      if ($$stella_status = 405) { return 405 $$stella_problem; }
      if ($$stella_status = 416) { return 416 $$stella_problem; }
      if ($$stella_status = 429) { return 429 $$stella_problem; }
      if ($$stella_status = 503) { return 503 $$stella_problem; }
      return 403 $$stella_problem;
    }
    location @away$form {
      default_type $media;
      add_header Cache-Control no-store always;
      add_header Retry-After 5 always;$secured
      return 503 '$away';
    }
    location @hasty$form {
      default_type $media;
      add_header Cache-Control no-store always;
      add_header Retry-After 1 always;$secured
      return 429 '$hasty';
    }
""")

TLS = Template("""\
    ssl_certificate $chain;
    ssl_certificate_key $key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:stella_tls:10m;
    ssl_session_tickets off;
""")
SECURED = """
      add_header Strict-Transport-Security "max-age=31536000" always;"""
REJECTED = Template("""
  # Names of no domain: in a handshake they end it, and after a good one they get nothing.
  server {
    listen $listen default_server;
    server_name _;
    ssl_reject_handshake on;
    add_header Cache-Control no-store always;
    return 421;
  }
""")
ADDRESSES = Template("""
  # Whose word about addresses counts, as the gateway has it.
$networks
  real_ip_header X-Forwarded-For;
  real_ip_recursive on;
""")

"""What `helm test` asks: whether each part answers, and whether closed domains let nobody in without credentials.

Arguments: `ready NAME URL` for a part, `domain ID HOST URL open|closed` for a domain; groups apart by `--`.
"""

import json
import ssl
import sys
import time
import urllib.error
import urllib.request

WAIT = 60  # seconds until a part has to be ready
INDEX = "/concelier/exports/index.json"


class SameHost(urllib.request.HTTPRedirectHandler):
    """No answer of a mirror leads elsewhere."""

    def redirect_request(self, *_arguments):
        """Nowhere."""
        return


def ask(url, **headers):
    """Status and body. Certificates are for outside names, and are looked at by `stella mirror check`."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), SameHost)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as reply:  # noqa: S310 - our own services
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def ready(name, url):
    """Whether a part is ready, soon."""
    end = time.monotonic() + WAIT
    while True:
        status, body = ask(f"{url}/readyz")
        if status == 200 or time.monotonic() > end:
            return status == 200, f"{name} is ready", body
        time.sleep(2)


def domain(name, host, url, kind):
    """Whether the gateway knows a domain and guards it."""
    status, body = ask(url + INDEX, Host=host)
    if kind == "closed":
        wrong, _ = ask(url + INDEX, Host=host, Authorization="Basic bm9ib2R5Om5vdGhpbmc=")
        return (status, wrong) == (401, 401), f"{name} asks for credentials ({status}, {wrong})", b""
    listed = status == 200 and name in [each["id"] for each in json.loads(body)["domains"]]
    return listed, f"{name} is open ({status})", b"" if listed else body


def main(arguments):
    """The exit code."""
    groups, failed = [[]], 0
    for word in arguments:
        if word == "--":
            groups.append([])
        else:
            groups[-1].append(word)
    for kind, *rest in filter(None, groups):
        well, text, body = {"ready": ready, "domain": domain}[kind](*rest)
        failed += not well
        why = "" if well else f": {body[:300].decode('utf-8', 'replace')}"
        sys.stdout.write(f"{'ok    ' if well else 'FAILED'} {text}{why}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

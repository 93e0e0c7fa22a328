"""What a server's refusals mean, in words: who may not do what, and which variable or file to set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html import unescape

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
LONGEST_LINE = 200

_STATUS = re.compile(r"error code (\d{3})\b|\b(\d{3}) (?:Client|Server) Error|too many (\d{3}) error responses")
_BODY = re.compile(r"Response (?:body|text): ?'?(?P<body>.*)", re.DOTALL)
_HEADINGS = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def in_words(error: BaseException, experiment: str | None = None) -> str | None:
    """What to do about the error of a request to a server; None if its own message says enough.

    `experiment` is the one that the command writes to.
    """
    text = " ".join(str(one) for one in _chain(error))
    status = _status(error, text)
    user = os.environ.get(USER)
    who = f"the user {user}" if user else "the owner of the token" if os.environ.get(TOKEN) else "an unnamed user"
    if status == 401 or "UNAUTHENTICATED" in text:
        given = f"It did not accept {who}." if user or os.environ.get(TOKEN) else "No user was given."
        return (
            f"the server wants a user and a password (401). {given} Set {USER} and {PASSWORD} in the environment (or "
            f"{TOKEN}), or write them into ~/.mlflow/credentials"
        )
    if status == 403 or "PERMISSION_DENIED" in text:
        where = f" in the experiment '{experiment}'" if experiment else ""
        return (
            f"the server does not permit this to {who}{where} (403). Ask who runs it for the permission EDIT (to "
            "compare, READ), or name another experiment with tracking.experiment"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            "the certificate of the server cannot be verified. If an authority of your own has signed it, name the "
            f"file with its certificate: {CERTIFICATE}=/path/ca.pem, or REQUESTS_CA_BUNDLE. The server's log tells "
            f"more. ({_certificate_reason(text)})"
        )
    if "SSLError" in text or "SSL:" in text:
        return (
            "the connection is not secured as its address says (TLS). Does the server listen with http:// there, or "
            "with an old version of TLS"
        )
    return _page(text, status)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException, text: str) -> int | None:
    answer = getattr(error, "response", None)
    if answer is not None and getattr(answer, "status_code", None):
        return int(answer.status_code)
    found = _STATUS.search(text)
    return int(next(filter(None, found.groups()))) if found else None


def _certificate_reason(text: str) -> str:
    found = re.search(r"certificate verify failed: ([^(\])']+)", text)
    return found[1].strip() if found else "certificate verify failed"


def _page(text: str, status: int | None) -> str | None:
    """The first line of a page that something before the server has answered."""
    found = _BODY.search(text)
    if found is None or "<" not in found["body"]:
        return None
    headings = [heading for _, heading in _HEADINGS.findall(found["body"])]
    lines = [" ".join(unescape(_TAGS.sub(" ", part)).split()) for part in (*headings, found["body"])]
    said = next(filter(None, lines), "an empty page")[:LONGEST_LINE]
    code = f" ({status})" if status else ""
    return f"something in front of the server answers with a page{code}: {said!r}"

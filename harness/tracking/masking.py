"""Masks secrets in a text as far as patterns find them: values with such a name, keys, tokens of known services.

It cannot find every secret. Each pattern keeps the text before and after the secret (the groups `a` and `z`). No
pattern may begin with an unbounded repetition: a diff may have lines of megabytes.
"""

from __future__ import annotations

import re

MASK = "***"

_WORDS = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|token|authorization|credential"
    r"|(?:api|access|account|private|encryption|signing|master|shared|auth|license)[_-]?key"
    r"|(?<![a-z])(?:pass|auth|creds?)(?![a-z]))s?"
)
_NAME = rf"{_WORDS}[\w.-]{{0,60}}+"
_OWN_LINE = rf"^[+ -]?[ \t]*+(?:-[ \t]++)?(?:(?:export|set|setx|env|arg)[ \t]++)?[\w./:-]{{0,60}}?{_NAME}"
_NO_REFERENCE = r"(?!(?:(?:Bearer|Basic) )?(?:\$?\{[^}\n]*\}|<[^>\n]*>|%\())"
_NO_SETTING = r"(?!(?:true|false|none|null|yes|no|on|off|[\d.]+)\s*$)"
_PLAIN = r"[^\s\"'`(){}\[\],$<]"
_GUESS = rf"(?=\S*\d)(?=\S*[A-Z]|\S*[^\w\s]|\S{{12}}){_PLAIN}{{6,}}"
"""A value that looks random: with a digit, and with an upper-case letter, a special character or some length."""
_TOKENS = (
    r"A[KS]IA[0-9A-Z]{16}", r"gh[pousr]_\w{30,}", r"github_pat_\w{22,}", r"gl(?:pat|dt|rt|cbt)-[\w-]{20,}",
    r"sk-[\w-]{20,}", r"[rs]k_(?:live|test)_\w{16,}", r"whsec_\w{16,}", r"hf_\w{30,}", r"xox[abeprs]-[\w-]{10,}",
    r"xapp-[\w-]{10,}", r"AIza[\w-]{35}", r"ya29\.[\w-]{20,}", r"GOCSPX-[\w-]{20,}", r"npm_\w{36}",
    r"pypi-[\w-]{30,}", r"dckr_pat_[\w-]{20,}", r"dapi[0-9a-f]{32}", r"do[opr]_v1_[0-9a-f]{40,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}", r"SK[0-9a-f]{32}", r"key-[0-9a-f]{32}", r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}",
    r"hv[sb]\.[\w-]{24,}", r"nvapi-[\w-]{40,}", r"gsk_\w{40,}", r"r8_\w{30,}", r"ATATT3[\w=-]{50,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", r"\d{8,10}:AA[\w-]{28,}", r"sntry[su]_[\w=/+-]{30,}",
    r"eyJ[\w-]{6,}\.[\w-]{10,}\.[\w-]+",
)  # fmt: skip


def _pattern(text: str, case: bool = False) -> re.Pattern[str]:
    return re.compile(text, re.MULTILINE | (0 if case else re.IGNORECASE))


SECRETS = (
    _pattern(r"(?P<a>-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----)[\s\S]{1,20000}?(?P<z>-----END)", True),
    _pattern(  # the end is not in the diff
        r"(?P<a>-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----)(?!\*)(?:(?:\\n|\s)+[+ -]?[\w+/=]{8,})+(?P<z>)",
        True,
    ),
    # name = "value", "name": 'value', name: str = """value""", and as a notebook has it: \"name\": \"value\"
    _pattern(
        rf"(?P<a>{_NAME}(?:\\?[\"'])?\]?\s*+(?::\s*+[\w.]++\s*+)?[:=]\s*+\(?\s*+[bfru]{{0,2}})(?P<q>[\"']{{3}})"
        rf"{_NO_REFERENCE}(?:(?!(?P=q))[\s\S]){{1,2000}}?(?P<z>(?P=q))"
    ),
    _pattern(
        rf"(?P<a>{_NAME}(?:\\?[\"'])?\]?\s*+(?::\s*+[\w.]++\s*+)?[:=]\s*+\(?\s*+[bfru]{{0,2}})(?P<q>\\?[\"'`])(?!(?P=q))"
        rf"{_NO_REFERENCE}(?:(?!(?P=q))(?:\\.|[^\n]))+?(?P<z>(?P=q))"
    ),
    _pattern(rf"(?P<a>set_{_WORDS}\(\s*)(?P<q>[\"'])(?!(?P=q))[^\n]+?(?P<z>(?P=q))"),
    _pattern(r"(?P<a>(?:auth|credentials?)\s*=\s*\(\s*[\"'][^\"'\n]{0,60}[\"'],\s*)(?P<q>[\"'])[^\n]+?(?P<z>(?P=q))"),
    _pattern(r"(?P<a>\bwandb[\w.]{0,20}\(\s*(?:key\s*=\s*)?)(?P<q>[\"'])[\w-]{30,}(?P<z>(?P=q))"),
    # NAME=value and name: value on a line of their own; with spaces around, what is no name of a variable
    _pattern(rf"(?P<a>{_OWN_LINE}(?:=(?!=)|:\s++))(?![>|]){_NO_SETTING}{_PLAIN}{{4,}}(?P<z>\s*(?:\s#.*)?)$"),
    _pattern(rf"(?P<a>{_OWN_LINE}(?:\s++=\s*+|=\s++|\s++(?!=)))(?-i:{_GUESS})(?P<z>\s*(?:[#;].*)?)$"),
    _pattern(rf"(?P<a>{_OWN_LINE}:[ ]*[>|]?[+-]?[ ]*\n[+ -]?\s+)(?!-\s){_PLAIN}{{4,}}(?P<z>)$"),
    _pattern(  # name: DB_PASSWORD, value: ...
        rf"(?P<a>name[\"']?\s*[:=]\s*[\"']?[\w.-]{{0,60}}?{_NAME}[\"']?\s*,?\s*(?:\n[+ -]?\s*)?"
        rf"[\"']?value[\"']?\s*[:=]\s*[\"']?)[^\s\"',}}]+(?P<z>)"
    ),
    _pattern(rf"(?P<a>(?<!-)--(?!-)[\w-]{{0,40}}?{_NAME}=[\"']?){_NO_REFERENCE}{_PLAIN}{{4,}}(?P<z>)"),
    _pattern(rf"(?P<a>(?<!-)--(?!-)[\w-]{{0,40}}?{_NAME}\s+[\"']?)(?-i:{_GUESS})(?P<z>)"),
    _pattern(r"(?P<a>\bcurl\b[^\n]{0,200}?\s(?:-u|--user)\s*[\"']?[^\s:\"']{1,60}:)[^\s\"']+(?P<z>)"),
    _pattern(r"(?P<a>\b(?:machine|login)\s+\S{1,80}\s[^\n]{0,80}?password\s+)\S+(?P<z>)"),
    _pattern(r"(?P<a>\b(?:Bearer|Basic)\s+)(?=\S*\d)[\w+/.=~-]{8,}(?P<z>)"),
    _pattern(
        r"(?P<a>https://(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/)[\w/-]+(?P<z>)"
    ),
    _pattern(rf"(?P<a>)(?<!\w)(?:{'|'.join(_TOKENS)})(?P<z>)", True),
)
"""Applied in this order; a later pattern does not change what an earlier one has masked."""


def without_secrets(text: str) -> tuple[str, int]:
    """A text, such as a diff, with the secrets that were found replaced by `***`, and their number.

    >>> without_secrets("+password = 'hush'")
    ("+password = '***'", 1)
    """
    count = 0

    def masked(found: re.Match[str]) -> str:
        nonlocal count
        quote = found.groupdict().get("q") or ""
        if found.string[found.end("a") + len(quote) : found.start("z")] == MASK:
            return found[0]
        count += 1
        return f"{found['a']}{quote}{MASK}{found['z']}"

    for pattern in SECRETS:
        text = pattern.sub(masked, text)
    return text, count

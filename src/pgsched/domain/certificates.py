"""Root certificates: what may be stored as one, in clear, and shown to whoever administers sources.

PEM is a text in which blocks stand between lines ``-----BEGIN …-----`` and ``-----END …-----`` (RFC 7468);
what stands around them is comment. Blocks are read by the standard library's ``ssl``, with the same OpenSSL
code that reads libpq's root certificate file: what is taken here is taken there.
"""

from __future__ import annotations

import re

# no - inside, so that a text full of beginnings is read once
_CERTIFICATE = re.compile(
    r"^-----BEGIN (?P<kind>(?:TRUSTED |X509 )?CERTIFICATE)-----[^-]*-----END (?P=kind)-----[ \t\r]*$",
    re.MULTILINE,
)
_MARK = re.compile(r"--[ \t]*(?:BEGIN|END)\b", re.IGNORECASE)
# as OpenSSL, OpenSSH, SSH2 and PGP head them, and PuTTY
_PRIVATE = re.compile(
    r"PRIVATE KEY(?: BLOCK)?[ \t]*--|PuTTY-User-Key-File|^Private-Lines:", re.IGNORECASE | re.MULTILINE
)


def root_certificate_fault(text: str) -> str | None:
    """Say why a text is not one or more certificates in PEM and nothing else but comments, or None.

    No part of the text is said again: it may hold a key.
    """
    if _PRIVATE.search(text):
        return (
            "holds a private key, which pgsched has no use for and would show: give the certificate alone "
            "(BEGIN CERTIFICATE … END CERTIFICATE)"
        )
    if not text.isascii() or "\x00" in text:
        return "must be a certificate in PEM, text in ASCII (openssl x509 -inform der makes one)"
    blocks = [match[0] for match in _CERTIFICATE.finditer(text)]
    if not blocks:
        return "must be a certificate in PEM (BEGIN CERTIFICATE …)"
    if _MARK.search(_CERTIFICATE.sub("", text)):
        return (
            "must be whole certificates in PEM, each BEGIN and END on a line of its own, and comments: "
            "take out what is neither"
        )
    for number, block in enumerate(blocks, 1):
        if not _is_read(block):
            which = "" if len(blocks) == 1 else f"certificate {number} of {len(blocks)} "
            return (
                f"{which}cannot be read as a certificate: give it whole and line by line, as the authority "
                "gives it out (openssl x509 -noout -text shows one)"
            )
    return None


def _is_read(block: str) -> bool:
    import ssl  # where there is a certificate: it takes as long to import as a short command to run

    try:
        # what OpenSSL's own form (TRUSTED) says behind the certificate is not looked at
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.replace("TRUSTED ", ""))
    except (ssl.SSLError, ValueError):
        return False
    return True

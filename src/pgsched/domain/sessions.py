"""Sessions: how long a login lasts. The sid itself is 256 random bits made elsewhere and never stored."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

#: 32 bytes in URL-safe base64 without padding
#: sessions that ended longer ago than this are deleted
KEPT_AFTER_END = timedelta(days=1)

_SID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRules:
    """How long sessions last."""

    #: life from the login, and again from an extension (SESSION_TTL_HOURS)
    ttl: timedelta
    #: a session used within this of its end is extended (SESSION_EXTEND_ON_USE_MIN)
    extend_within: timedelta
    #: never longer than this from the login (SESSION_MAX_HOURS)
    longest: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One login of an account, as stored."""

    #: SHA-256 of the sid, 64 hexadecimal digits
    id: str
    #: whose it is
    user_id: int
    #: when the login was, UTC
    created_at: datetime
    #: when it was last used, UTC
    last_seen_at: datetime
    #: when it ends, UTC, exclusive
    expires_at: datetime
    #: address it was opened from, None when unknown
    ip: str | None = None
    #: what the browser called itself, None when it did not
    user_agent: str | None = None
    #: whether it was ended before its time
    is_revoked: bool = False


def sid_hash(sid: str) -> str:
    """Return what is stored in place of a sid; 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(sid.encode(errors="surrogatepass")).hexdigest()


def is_sid(text: str) -> bool:
    """Whether a text has the shape of a sid, so that nonsense asks no database."""
    return _SID.fullmatch(text) is not None


def expiry_at_login(now: datetime, rules: SessionRules) -> datetime:
    """Say when a session that is opened now ends."""
    return _aware(now) + min(rules.ttl, rules.longest)


def is_live(session: Session, now: datetime) -> bool:
    """Whether a session may be used now."""
    return not session.is_revoked and _aware(now) < session.expires_at


def extended_expiry(session: Session, now: datetime, rules: SessionRules) -> datetime | None:
    """Say when a session that is used now ends from here on, or None when its end stays.

    A live session within ``extend_within`` of its end gets ``now + ttl``, never past ``longest`` from its
    login, and never an earlier end than it has.
    """
    if not is_live(session, now) or session.expires_at - now > rules.extend_within:
        return None
    later = min(now + rules.ttl, session.created_at + rules.longest)
    return later if later > session.expires_at else None


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("now must carry its zone")
    return now

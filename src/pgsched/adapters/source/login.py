"""Looks at what a server says while a client logs in, before libpq acts on it.

In SCRAM the server says how often the password is to be hashed, libpq does as it is told, without a bound,
and with the interpreter's lock held: 2,000,000,000 rounds stop a worker for an hour, its other runs with it.
So the messages are looked at before libpq reads them: in the socket, or as TLS decrypts them. Libpq hashes in
a thread of its own besides (``libpq.AsidePoll``): TLS cannot be looked into everywhere, and what arrives
between a look at a socket and libpq's reading is not seen.

Source: RFC 5802, section 5.1; PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import struct

from pgsched.adapters.source.faults import broken

#: most rounds of hashing a server may ask for; Postgres asks for 4096, OWASP recommends 600,000 (1.4 s)
MOST_ROUNDS = 1_000_000
#: most bytes that may wait unread during a login
_MOST_WAITING = 8192
#: messages after which a login goes on: a request, and the version of the protocol
_GO_ON = (b"R", b"v")
_SASL_CONTINUE = 11
_ROUNDS = re.compile(rb"(?:^|,)i=0*(\d+)")
#: seconds between two looks for the rest of a message
_LOOK_S = 0.005
#: most bytes that a server may send until a client is logged in, certificates included; usual are one to six
#: thousand. libpq looks for a setting's name among all it was told, so the time grows with their square
MOST_LOGIN_BYTES = 1 << 16
#: place of tcpi_bytes_received in the kernel's struct tcp_info (linux/tcp.h)
_RECEIVED_AT = 128


class LoginWatch:
    """The messages of one server during one login, each seen whole before libpq sees it."""

    def __init__(self, *, asks_for_tls: bool) -> None:
        self._asks_for_tls = asks_for_tls
        #: whether anything came from the server, as far as the system says
        self.has_spoken = False
        self.begin()

    def begin(self) -> None:
        """Expect a login from its first letter; libpq makes another connection where TLS came to nothing."""
        #: whether the answer to a request for encryption is due, one letter
        self._is_letter_due = self._asks_for_tls
        #: what TLS decrypted of messages that are not whole yet
        self._part = b""
        #: whether nothing can be asked for any more
        self.is_over = False
        #: whether the messages are behind TLS
        self.is_encrypted = False

    def count(self, fileno: int) -> None:
        """Refuse a server that talks on and on before the client is logged in.

        Raises:
            ProtocolBroken: more than MOST_LOGIN_BYTES.
        """
        connection = socket.socket(fileno=fileno)
        try:
            received = received_bytes(connection)
            self.has_spoken = self.has_spoken or received > 0
            if received > MOST_LOGIN_BYTES:
                raise broken(f"more than {MOST_LOGIN_BYTES} bytes during the login")
        finally:
            connection.detach()

    async def let_through(self, fileno: int) -> None:
        """Wait until whole messages wait to be read, and refuse what a server must not ask for.

        Raises:
            ProtocolBroken: too many rounds of hashing, or messages that are none.
        """
        while not self.is_over and not self.is_encrypted:
            waiting = _peek(fileno)
            if not waiting or self._are_whole(waiting):
                return
            # level-triggered readiness would say at once that there is something to read
            await asyncio.sleep(_LOOK_S)

    def hear(self, decrypted: bytes) -> None:
        """Take what libpq will read next behind TLS, and refuse what a server must not ask for.

        A message may come in parts: libpq only acts on a whole one.

        Raises:
            ProtocolBroken: too many rounds of hashing, or messages that are none.
        """
        self._part += decrypted
        if self._are_whole(self._part):
            self._part = b""

    def _are_whole(self, waiting: bytes) -> bool:
        place = 0
        if self._is_letter_due:
            if waiting[:1] == b"S":
                # what follows is TLS
                self.is_encrypted = True
                self._is_letter_due = False
                return True
            place = 1 if waiting[:1] == b"N" else 0
        while place < len(waiting):
            if len(waiting) - place < 5:
                return self._is_too_long(waiting)
            kind, length = waiting[place : place + 1], struct.unpack_from("!I", waiting, place + 1)[0]
            end = place + 1 + length
            if kind not in _GO_ON or length < 8:
                # an error of the server's, or nothing that a login goes on after: libpq tells
                self.is_over = True
                return True
            if end > len(waiting):
                return self._is_too_long(waiting)
            if kind == b"R":
                self._judge(waiting[place + 5 : end])
            place = end
        self._is_letter_due = False
        return True

    def _judge(self, body: bytes) -> None:
        (request,) = struct.unpack_from("!I", body)
        if request == 0:
            self.is_over = True
        elif request == _SASL_CONTINUE:
            found = _ROUNDS.search(body, 4)
            if found is not None and (len(found[1]) > 9 or int(found[1]) > MOST_ROUNDS):
                raise broken(f"the login asks for more than {MOST_ROUNDS} rounds of hashing the password")

    def _is_too_long(self, waiting: bytes) -> bool:
        if len(waiting) >= _MOST_WAITING:
            raise broken("a message of the login is too long")
        return False


def received_bytes(connection: socket.socket) -> int:
    """Return how many bytes came over a connection so far, 0 where the system does not say."""
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + 8)
        return int(struct.unpack_from("Q", told, _RECEIVED_AT)[0])
    except (OSError, AttributeError, struct.error):
        return 0


def _peek(fileno: int) -> bytes:
    """Return what waits to be read, and leave it there."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        # to receive would take the error away, and libpq could not say that the connection was refused
        return b""
    connection = socket.socket(fileno=fileno)
    try:
        return connection.recv(_MOST_WAITING, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""
    finally:
        connection.detach()

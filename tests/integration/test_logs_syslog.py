"""What pgsched logs, sent to a real rsyslog and a real syslog-ng and read back field by field."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import eventually, free_port
from strict_syslog import Line, parse
from tools import folder, program, running

from pgsched.adapters.logs.forwarding import SyslogForwarder, SyslogTarget
from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter

FORMATTER = Rfc5424Formatter(
    app_name="pgsched-api", enterprise_id=32473, max_bytes=4096, redactor=Redactor(("token",))
)
#: message, level and extras of each record
RECORDS = [
    ("run %d ended: success", logging.INFO, {"action": "run.ended", "run_id": 2**63 - 1, "query_id": 3}),
    ("Ünïcödé 日本 🐘", logging.WARNING, {"request_id": "a-b.c_d"}),
    ('quotes " back\\slash ] bracket', logging.ERROR, {"path": 'a"b\\c]d', "empty": ""}),
    ("two\nlines\tand \x1b[31mcolour\u2028end", logging.CRITICAL, {"nested": {"token": "geheim", "n": [1]}}),
    ("plain", logging.DEBUG, {}),
]


@contextmanager
def rsyslog(tmp_path: Path) -> Iterator[tuple[dict[str, SyslogTarget], Path]]:
    """An rsyslogd that listens on three transports and writes what it read as JSON."""
    tcp, udp = free_port(), free_port()
    modules = folder("usr/lib/*/rsyslog")
    fields = {
        "pri": "pri",
        "time": "timereported",
        "host": "hostname",
        "app": "app-name",
        "proc": "procid",
        "msgid": "msgid",
        "sd": "structured-data",
        "msg": "msg",
    }
    properties = "\n".join(
        f'property(outname="{name}" name="{source}" format="jsonf"'
        + (' dateformat="rfc3339")' if name == "time" else ")")
        + (' constant(value=",")' if name != "msg" else "")
        for name, source in fields.items()
    )
    (tmp_path / "rsyslog.conf").write_text(
        f"""
        global(workDirectory="{tmp_path}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
        module(load="imtcp") module(load="imudp") module(load="imuxsock" SysSock.Use="off")
        input(type="imtcp" port="{tcp}" address="127.0.0.1")
        input(type="imudp" port="{udp}" address="127.0.0.1")
        input(type="imuxsock" socket="{tmp_path}/rsyslog.sock" useSpecialParser="off"
            parseHostname="on" ignoreTimestamp="off" useSysTimeStamp="off")
        template(name="fields" type="list") {{ constant(value="{{") {properties} constant(value="}}\\n") }}
        action(type="omfile" file="{tmp_path}/rsyslog.out" template="fields")
        """
    )
    command = [program("rsyslogd"), "-n", "-f", f"{tmp_path}/rsyslog.conf", "-i", "NONE", "-M", modules]
    with running(command, tmp_path / "rsyslog.log"):
        yield targets(tcp, udp, tmp_path / "rsyslog.sock"), tmp_path / "rsyslog.out"


@contextmanager
def syslog_ng(tmp_path: Path) -> Iterator[tuple[dict[str, SyslogTarget], Path]]:
    """The same with syslog-ng."""
    tcp, udp = free_port(), free_port()
    modules = folder("usr/lib/syslog-ng/[0-9]*")
    (tmp_path / "ng.conf").write_text(
        f"""@version: 3.38
        options {{ keep-hostname(yes); chain-hostnames(no); stats-freq(0); log-msg-size(65536); }};
        source s {{
            syslog(ip("127.0.0.1") port({tcp}) transport("tcp"));
            syslog(ip("127.0.0.1") port({udp}) transport("udp"));
            unix-dgram("{tmp_path}/ng.sock" flags(syslog-protocol));
        }};
        destination d {{ file("{tmp_path}/ng.out" template("$(format-json pri=$PRI time=$ISODATE host=$HOST
            app=$PROGRAM proc=$PID msgid=$MSGID sd=$SDATA msg=$MSG)\\n") frac-digits(6) time-zone("UTC")); }};
        log {{ source(s); destination(d); }};
        """
    )
    command = [program("syslog-ng"), "-F", "--no-caps", "-f", f"{tmp_path}/ng.conf"]
    command += [f"--module-path={modules}", f"--persist-file={tmp_path}/ng.persist"]
    command += [f"--pidfile={tmp_path}/ng.pid", f"--control={tmp_path}/ng.ctl"]
    with running(command, tmp_path / "ng.log"):
        yield targets(tcp, udp, tmp_path / "ng.sock"), tmp_path / "ng.out"


def targets(tcp: int, udp: int, path: Path) -> dict[str, SyslogTarget]:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", tcp)) == 0 and path.exists()

    eventually(listens)
    return {
        "tcp": SyslogTarget(transport="tcp", host="127.0.0.1", port=tcp),
        "udp": SyslogTarget(transport="udp", host="127.0.0.1", port=udp),
        "unix": SyslogTarget(transport="unix", host=str(path)),
    }


def records() -> list[logging.LogRecord]:
    logger = logging.getLogger("pgsched.test")
    return [
        logger.makeRecord(
            logger.name, level, __file__, 1, text, (7,) if "%" in text else (), None, extra=extra
        )
        for text, level, extra in RECORDS
    ]


def read(raw: str) -> tuple[dict[str, str], Line]:
    """What a server read of a line, and the line put together from that, read strictly."""
    # syslog-ng has NILVALUE as nothing
    found = {name: value or "-" for name, value in json.loads(raw).items()}
    # syslog-ng numbers what it writes in an element of its own
    found["sd"] = re.sub(r'\[meta sequenceId="[0-9]+"\]', "", found["sd"])
    message = found["msg"].lstrip()
    line = "<{pri}>1 {time} {host} {app} {proc} {msgid} {sd}".format(**found)
    # both write UTC as an offset
    line = line.replace("+00:00 ", "Z ", 1)
    rebuilt = f"{line} \ufeff{message.removeprefix(chr(0xFEFF))}"
    return found, parse(rebuilt.encode())


@pytest.mark.parametrize("server", [rsyslog, syslog_ng])
def test_records_come_back_field_by_field(server, tmp_path):
    with server(tmp_path) as (transports, out):
        sent: list[Line] = []
        for transport, target in transports.items():
            forwarder = SyslogForwarder(target, FORMATTER)
            for record in records():
                forwarder.handle(record)
                sent.append(parse(FORMATTER.line(record)))
            forwarder.close()
            assert forwarder.lost == 0, transport
            eventually(lambda: out.exists() and out.read_text().count("\n") == len(sent))
        for wanted, raw in zip(sent, out.read_text().splitlines(), strict=True):
            found, line = read(raw)
            assert (line.facility, line.severity) == (wanted.facility, wanted.severity)
            assert line.at == wanted.at, found
            assert (line.hostname, line.app_name, line.procid, line.msgid) == (
                wanted.hostname,
                wanted.app_name,
                wanted.procid,
                wanted.msgid,
            )
            assert (line.sd_id, line.data) == (wanted.sd_id, wanted.data)
            assert line.message == wanted.message
        assert "geheim" not in out.read_text()


def test_forwarding_outlives_its_server(tmp_path):
    """Away at first, there, restarted: nobody waits, and what was sent to a server that lives arrives."""
    port = free_port()
    forwarder = SyslogForwarder(SyslogTarget(transport="tcp", host="127.0.0.1", port=port), FORMATTER)
    asked = time.monotonic()
    for number in range(2000):
        forwarder.handle(note(f"early {number}"))
    assert time.monotonic() - asked < 5
    got = b""
    for part in ("first", "second"):
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(20)
            forwarder.handle(note(part))
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                while f"\ufeff{part}".encode() not in got:
                    got += connection.recv(1 << 16)
    forwarder.close()
    assert forwarder.lost == 0
    found = split_by_octets(got)
    texts = [parse(line).message for line in found]
    assert texts == [*(f"early {number}" for number in range(2000)), "first", "second"]


def test_forwarding_is_bounded_and_counts_what_it_gives_up(tmp_path, monkeypatch):
    monkeypatch.setattr("pgsched.adapters.logs.forwarding.MOST_WAITING", 10)
    monkeypatch.setattr("pgsched.adapters.logs.forwarding._LAST_S", 0.2)
    forwarder = SyslogForwarder(SyslogTarget(transport="unix", host=str(tmp_path / "nobody")), FORMATTER)
    for number in range(100):
        forwarder.handle(note(str(number)))
    forwarder.close()
    eventually(lambda: forwarder.lost >= 89)


def note(message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "name": "x", "levelno": logging.INFO})


def split_by_octets(stream: bytes) -> list[bytes]:
    lines = []
    while stream:
        length, _, rest = stream.partition(b" ")
        lines.append(rest[: int(length)])
        stream = rest[int(length) :]
    return lines


def test_services_forward_and_write_to_standard_output(database, tmp_path):
    from processes import installation

    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = f"/tmp/pgsched-{os.getpid()}.sock"
    inbox.bind(path)
    inbox.settimeout(20)
    try:
        with installation(tmp_path / "place", database.url) as place:
            worker = place.start("worker", LOG_TO="stdout", LOG_SYSLOG=f"unix://{path}")
            heard = parse(inbox.recv(1 << 16))
            assert heard.app_name == "pgsched-worker"
            eventually(lambda: "worker.ready" in worker.out)
            assert worker.end() == 0
            lines = [parse(line) for line in worker.out.encode().splitlines()]
            assert {"worker.ready"} <= {line.msgid for line in lines}
            assert not (place.folder / "logs").exists()
            for setting, value in (
                ("LOG_TO", "paper"),
                ("LOG_SYSLOG", "udp:514"),
                ("LOG_SYSLOG", "unix://x"),
            ):
                assert place.refused("worker", **{setting: value}).startswith(f"{setting}: ")
    finally:
        inbox.close()
        os.unlink(path)

"""Becomes the program it is told to run, tied to the life of its parent.

Run by path as ``python -I -S launch.py ORDER PROGRAM ARGUMENT…`` (never imported by the service): the
steps between fork and exec need a program of their own, because ``preexec_fn`` may hang in a process with
threads. ORDER is a JSON object:

- ``folder``: working directory, entered after the change of user, so it proves that it can be reached
- ``parent``: process id of who ordered this; when it is gone already nothing is started
- ``signal``: number of the signal to get when the parent dies
- ``mask``: uid to appear as inside a new user namespace, or null
- ``become``: [uid, gid] to become for good, or null
- ``leash``: descriptor of a pipe whose other end only the parent holds, where the kernel has no
  parent-death signal; or null

Sources: prctl(2) PR_SET_PDEATHSIG, user_namespaces(7).
"""

from __future__ import annotations

# All at the top: after the change of user Python's own folder may be out of reach.
import ctypes
import json
import os
import select
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def main() -> None:
    """Follow the order, then turn into the program."""
    order, program = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        if order["mask"] is not None:
            mask(order["mask"])
        if order["become"] is not None:
            uid, gid = order["become"]
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.chdir(order["folder"])
        # After the change of user: setuid clears the parent-death signal.
        if order["leash"] is not None:
            keep_leash(order["leash"], order["signal"])
        elif sys.platform == "linux":
            call("prctl", PR_SET_PDEATHSIG, order["signal"])
        if os.getppid() != order["parent"]:
            sys.exit("launch: whoever ordered this is gone")
        os.execv(program[0], program)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"launch: {error}")


def mask(uid: int) -> None:
    """Enter a user namespace in which the present user appears as ``uid``, without any of its powers."""
    outer = os.geteuid()
    call("unshare", CLONE_NEWUSER)
    # The group stays unmapped: not everyone may map one, and Postgres looks at the owner alone.
    with open("/proc/self/uid_map", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 8 ms
        file.write(f"{uid} {outer} 1")


def call(name: str, *arguments: int) -> None:
    """Call a function of the C library; raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def keep_leash(pipe: int, number: int) -> None:
    """Leave a child behind that sends the signal when the pipe's other end closes."""
    program = os.getpid()
    if os.fork():
        os.close(pipe)
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    while os.getppid() == program:
        if select.select([pipe], [], [], 1.0)[0]:
            if os.getppid() == program:
                os.kill(program, number)
            break
    os._exit(0)


if __name__ == "__main__":
    main()

"""What is shown of a value never holds a secret: every class that keeps one as text hides it in its repr."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import msgspec
import pytest

import pgsched

#: names under which secrets are kept
SECRET = re.compile(
    r"password|passwd|secret|pepper|private|ciphertext|dsn|conninfo|^(sid|token|token_hash|authorization|cookie)$"
)
#: kept as something else that hides itself, or no secret: a path, a flag, a number
TEXT = re.compile(r"\b(str|bytes)\b")
PATHS = {"app_private_key_b64_path"}


def classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(pgsched.__path__, "pgsched."):
        if not module.name.endswith("__main__"):
            found = importlib.import_module(module.name)
            yield from (
                each
                for each in vars(found).values()
                if inspect.isclass(each) and each.__module__ == module.name
            )


def kept_by(kind: type) -> Iterator[tuple[str, bool]]:
    """The secrets of a class, and whether its repr shows them."""
    if dataclasses.is_dataclass(kind):
        own = _is_ours(kind)
        fields = [(field.name, field.type, field.repr and not own) for field in dataclasses.fields(kind)]
    elif issubclass(kind, msgspec.Struct):
        own = _is_ours(kind)
        fields = [(field.name, field.type, not own) for field in msgspec.structs.fields(kind)]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        own = _is_ours(kind)
        fields = [(name, kind.__annotations__.get(name, "str"), not own) for name in kind._fields]
    else:
        return
    for name, annotation, shown in fields:
        text = annotation if isinstance(annotation, str) else repr(annotation)
        if SECRET.search(name) and TEXT.search(text) and name not in PATHS:
            yield name, shown


def _is_ours(kind: type) -> bool:
    """Whether somebody wrote the class's repr, and not a library."""
    code = getattr(kind.__repr__, "__code__", None)
    return code is not None and "pgsched" in code.co_filename


KEPT = sorted(
    (f"{kind.__module__}.{kind.__name__}.{name}", shown)
    for kind in classes()
    for name, shown in kept_by(kind)
)


@pytest.mark.parametrize(("place", "shown"), KEPT, ids=[place for place, _ in KEPT])
def test_secret_is_not_shown_by_the_repr_of_what_keeps_it(place: str, shown: bool) -> None:
    assert not shown


def test_there_are_secrets() -> None:
    assert len(KEPT) > 15

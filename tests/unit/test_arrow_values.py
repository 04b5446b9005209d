"""Which Arrow type numerics become, and their texts where no decimal holds them."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from pgsched.adapters.formats.arrow_values import text_of, values_of
from pgsched.adapters.formats.columns import Column

BEYOND = b"9" * 40 + b".0"


def column(pg_type: str) -> Column:
    return Column(name="n", type="number", pg_type=pg_type, pg_oid=1700)


@pytest.mark.parametrize(
    ("cells", "scale"),
    [
        ([b"0." + b"1" * 38, b"null"], 38),
        ([b"-0." + b"1" * 38], 38),
        ([b"9" * 38 + b".0"], 0),
        ([b"0", b"0.0"], 1),
        ([], 0),
        ([b"1234567890123456789.0"], 1),
    ],
)
def test_numeric_is_a_decimal_that_holds_what_was_seen(cells: list[bytes], scale: int) -> None:
    values, looks = values_of(column("numeric"))
    assert looks
    assert values.fits(cells)
    assert values.type == pa.decimal128(38, scale)
    read = [None if cell == b"null" else Decimal(cell.decode()) for cell in cells]
    assert values.array(cells).to_pylist() == read


def test_numeric_beyond_every_decimal_is_text_without_an_added_fraction() -> None:
    cells = [BEYOND, b"7", b"1.50", b"null"]
    values, _ = values_of(column("numeric"))
    assert not values.fits(cells)
    assert not values.fits([b"0." + b"1" * 38, b"1"])
    for told in (text_of(values), values_of(column("numeric(90,0)"))[0]):
        assert told.array(cells).to_pylist() == ["9" * 40, "7", "1.50", None]
    own, _ = values_of(column("numeric(90,1)"))
    assert own.array([BEYOND]).to_pylist() == [BEYOND.decode()]

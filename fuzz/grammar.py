"""Statements drawn by hypothesis from a grammar of the canary's tables: most of them run."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

NUMBERS = st.sampled_from(
    ["1", "0", "-3", "2.5", "null", "o.id", "o.amount", "o.customer_id", "c.id", "1e3", "999999999999"]
)
TEXTS = st.sampled_from(
    ["'a'", "''", "c.name", "c.email", "o.id::text", "E'\\n'", "U&'\\00e9'", "$x$y$x$", "null::text"]
)
FLAGS = st.sampled_from(["true", "false", "null::bool", "o.id > 3", "c.name like 'n%'", "exists (select 1)"])
#: calls that must be refused wherever they stand
HOSTILE = st.sampled_from(
    [
        "nextval('canary_seq')",
        "sneak()",
        "lo_create(0)::int",
        "pg_advisory_lock(1)::text::int",
        "txid_current()",
        "('canary_seq'::regclass).nextval",
        "setval('canary_seq', 3)",
        "length(set_config('work_mem', '1MB', false))",
    ]
)


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    functions = (
        "abs",
        "round",
        "ceil",
        "sign",
        "sqrt",
        "trunc",
        "log",
        "exp",
        "to_hex",
        "factorial",
        "scale",
    )
    return st.one_of(
        two.flatmap(lambda ab: st.sampled_from("+-*/%^").map(lambda op: f"({ab[0]} {op} {ab[1]})")),
        st.tuples(st.sampled_from(functions), inner).map(lambda fa: f"{fa[0]}({fa[1]})"),
        two.map(lambda ab: f"coalesce({ab[0]}, {ab[1]})"),
        two.map(lambda ab: f"greatest({ab[0]}, {ab[1]})"),
        st.tuples(FLAGS, inner, inner).map(lambda v: f"case when {v[0]} then {v[1]} else {v[2]} end"),
        inner.map(lambda a: f"(select {a})"),
        inner.map(lambda a: f"(array[{a}, {a}])[1]"),
        inner.map(lambda a: f"cast({a} as numeric)"),
        inner.map(lambda a: f"sum({a}) over (partition by {a} order by o.id)"),
        inner.map(lambda a: f"(select max(x) from (values ({a}), (2)) v (x))"),
        TEXTS.map(lambda t: f"length({t})"),
        HOSTILE,
    )


NUMBER = st.recursive(NUMBERS, _numbers, max_leaves=6)
TEXT = st.one_of(
    TEXTS,
    st.tuples(st.sampled_from(["upper", "md5", "reverse", "quote_ident", "initcap", "btrim"]), TEXTS).map(
        lambda fa: f"{fa[0]}({fa[1]})"
    ),
    st.tuples(TEXTS, TEXTS).map(lambda ab: f"{ab[0]} || {ab[1]}"),
    NUMBER.map(lambda n: f"({n})::text"),
)
CONDITION = st.one_of(
    FLAGS,
    st.tuples(NUMBER, NUMBER).map(lambda ab: f"{ab[0]} <= {ab[1]}"),
    st.tuples(NUMBER, NUMBER).map(lambda ab: f"{ab[0]} in ({ab[1]}, 1)"),
    TEXT.map(lambda t: f"{t} is not null"),
)
FROM = st.sampled_from(
    [
        "orders o, customers c",
        "orders o join customers c on c.id = o.customer_id",
        "orders o cross join customers c",
        "orders o left join lateral (select * from customers x where x.id = o.id) c on true",
        "(select * from orders) o, (table customers) c",
        "orders o tablesample system (100), customers c",
        "only orders o, customers as c",
    ]
)
HEADS = ["", "", "", "with w as (select 1) ", "with w as (delete from orders returning 1) "]
SHAPES = ["select {}", "select {}", "select distinct {}", "select all {}", "select {} into s"]
TAIL = st.sampled_from(
    [
        "",
        " limit 3",
        " order by 1 limit 5 offset 1",
        " fetch first row only",
        " for update",
        " for share of o",
        ";",
        " -- end",
        " limit (select 2)",
        " limit nextval('canary_seq')",
    ]
)


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A SELECT over orders and customers."""
    columns = ", ".join(draw(st.lists(NUMBER | TEXT | CONDITION, min_size=1, max_size=4)))
    head = draw(
        st.sampled_from(["", "", "", "with w as (select 1) ", "with w as (delete from orders returning 1) "])
    )
    shape = draw(
        st.sampled_from(["select {}", "select {}", "select distinct {}", "select all {}", "select {} into s"])
    )
    where = draw(st.one_of(st.just(""), CONDITION.map(lambda c: f" where {c}")))
    return f"{head}{shape.format(columns)} from {draw(FROM)}{where}{draw(TAIL)}"


def drawn(count: int, number: int) -> list[str]:
    """Return so many statements; the same number draws the same ones."""
    found: list[str] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(statements())
    def collect(sql: str) -> None:
        found.append(sql)

    collect()
    return found

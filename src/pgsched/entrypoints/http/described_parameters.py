"""What the OpenAPI document says of the parts of paths, of query parameters and of request headers.

Handlers read their parameters strictly by themselves (``parameters``), so what the document says of them
stands here, exactly, instead of being guessed from types.
"""

from __future__ import annotations

from typing import Annotated, cast

from litestar.openapi.spec import Example, OpenAPIFormat, OpenAPIType, Parameter, Schema
from litestar.params import Parameter as Described

from pgsched.adapters.formats.shape import Format
from pgsched.domain.names import NAME
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http import examples
from pgsched.entrypoints.http.parameters import DEFAULT_ITEMS, LONGEST_TEXT, MOST_ITEMS, VISIBLE

Qid = Annotated[str, Described(description="The query's id or name.")]
SourceKey = Annotated[str, Described(description="The source's id or name.")]
Uid = Annotated[str, Described(description="The account's id.")]
TokenId = Annotated[str, Described(description="The token's id.")]
SessionId = Annotated[str, Described(description="The session's id, as the list has it.")]
RunId = Annotated[str, Described(description="The run's id.")]

#: of every integer there is: the framework's list of formats does not know it
INT64 = cast("OpenAPIFormat", "int64")

_INSTANT = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)
_ID = Schema(type=OpenAPIType.INTEGER, format=INT64, minimum=0)
_TEXT = Schema(type=OpenAPIType.STRING, max_length=LONGEST_TEXT, pattern=f"^{VISIBLE.pattern}$")
_SET = Schema(type=OpenAPIType.STRING, pattern=f"^{NAME.pattern}$")
_NAME_OR_ID = Schema(type=OpenAPIType.STRING, pattern=f"^([0-9]+|{NAME.pattern})$")
_FLAG = Schema(type=OpenAPIType.STRING, enum=["0", "1", "false", "true"])
_STATUSES = ["any", *(status.value for status in RunStatus)]

#: the parts of paths by their names
PLACES: dict[str, Schema] = {
    "qid": _NAME_OR_ID,
    "source_id": _NAME_OR_ID,
    "session_id": Schema(type=OpenAPIType.STRING, pattern="^[A-Za-z0-9]+$"),
    **dict.fromkeys(("run_id", "uid", "token_id"), _ID),
}

_QUERY = {
    "limit": (
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST_ITEMS, default=DEFAULT_ITEMS),
        "Most items in the answer.",
    ),
    "offset": (
        Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=2**63 - 1, default=0),
        "Items left out before the first.",
    ),
    "start": (
        _INSTANT,
        "Only runs with scheduled_at, or events, or instants, at or after this RFC 3339 time.",
    ),
    "end": (_INSTANT, "Only runs with scheduled_at, or events, or instants, before this RFC 3339 time."),
    "actor": (_TEXT, "Only what this one did: an e-mail address, or cli:NAME."),
    "action": (_TEXT, "Only this, as user.update."),
    "noun": (_TEXT, "Only what was done to this kind of thing: user, session, token, source, query, …"),
    "noun_id": (_TEXT, "Only what was done to the thing of this id."),
    "q": (
        Schema(type=OpenAPIType.STRING),
        "Only queries with this text in name, title or description, in any letter case.",
    ),
    "enabled": (_FLAG, "Only queries that are enabled, or disabled."),
    "force": (_FLAG, "With 1 all that hangs on it is deleted too; what runs is cancelled."),
    "before": (_ID, "A run's id: the page of runs just older than it."),
    "after": (_ID, "A run's id: the page of runs just newer than it."),
    "status": (Schema(type=OpenAPIType.STRING, enum=_STATUSES), "Only runs of this status."),
    "params": (_SET, "Only runs with the parameter set of this name."),
    "include": (
        Schema(type=OpenAPIType.STRING, enum=["result"]),
        "With result each run has its result too.",
    ),
    "format": (
        Schema(type=OpenAPIType.STRING, enum=list(Format), default=Format.TABLE.value),
        "How the result is written; all but table answer the rows alone. Wins over the Accept header.",
    ),
    "rows": (
        Schema(type=OpenAPIType.STRING, pattern=r"^[0-9]{1,18},[0-9]{1,18}$"),
        "offset,limit: a page of the rows; X-Total-Count says how many there are.",
    ),
    "columns": (
        Schema(type=OpenAPIType.STRING, min_length=1),
        "Names of columns joined by commas, in the order wanted; one with a comma in it is quoted as in CSV.",
    ),
    "bigint": (
        Schema(type=OpenAPIType.STRING, enum=["number", "string"], default="number"),
        "With string, integers beyond 2^53 are strings in every JSON format.",
    ),
    "csv_safe": (
        Schema(type=OpenAPIType.STRING, enum=["0", "1"], default="0"),
        "With 1, texts that a spreadsheet could take for a formula get an apostrophe before them in CSV.",
    ),
}

#: the parameters that any operation reads; all others change no answer
KNOWN_PARAMETERS = frozenset(_QUERY)


def query_parameter(name: str) -> Parameter:
    """Describe a query parameter."""
    schema, description = _QUERY[name]
    example = examples.PARAMETERS.get(name)
    return Parameter(
        name=name,
        param_in="query",
        required=False,
        schema=schema,
        description=description,
        examples=None if example is None else {"example": Example(value=example)},
    )


def _header(name: str, description: str) -> Parameter:
    schema = Schema(type=OpenAPIType.STRING)
    return Parameter(name=name, param_in="header", description=description, required=False, schema=schema)


IF_NONE_MATCH = _header("If-None-Match", "An ETag from before: 304 when nothing changed.")
IF_MATCH = _header(
    "If-Match", "The ETag of what was read: 412 when it has changed since. Without it the last wins."
)

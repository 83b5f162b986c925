"""``inventory``: every client secret and storage key, and who manages it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag
from azure_rotator.cli.invocation import Invocation, command, required
from azure_rotator.cli.tables import cell, table
from azure_rotator.domain.errors import Rejected, RotatorError
from azure_rotator.domain.names import is_guid

if TYPE_CHECKING:
    from azure_rotator.engine.inventory import Stock

_COLUMNS = {
    "place": "WHERE",
    "key_id": "KEY ID",
    "display_name": "NAME",
    "age_days": "DAYS OLD",
    "expires_at": "EXPIRES",
    "managed_by": "MANAGED BY",
    "manager": "NAMELY",
}


@command(
    about="List every client secret of an application and every key of a storage account, as Azure has them: age, "
    "expiry, and whether an item manages it, another store, or nobody; then with the command that adopts it. No value "
    "is shown, and nothing is changed.\n\n"
    "Without --app-id and --resource-name: everything that the Target and its items name.",
    flags=[
        Flag("--target", "target", metavar="PATH", about="as whom to look [required]"),
        Flag("--app-id", "app_id", metavar="GUID", about="this application alone"),
        Flag("--resource-name", "resource_name", metavar="NAME", about="this storage account alone"),
    ],
)
def inventory(call: Invocation, /, target: str | None, app_id: str | None, resource_name: str | None) -> None:
    path = required("--target", target)
    if app_id is not None and not is_guid(app_id):
        raise Rejected("IdentifierMixedUp", "app_id is not a GUID", hint="app-id is the application (client) id")
    with call.engine() as engine:
        stock = engine.inventory(target=path, app_id=app_id, resource_name=resource_name)
    call.console.result(stock.facts(), lambda: _shown(stock))
    if stock.problems:
        first = stock.problems[0]
        raise RotatorError(
            str(first["code"]),
            f"{len(stock.problems)} places could not be looked at",
            hint="what is listed is the rest",
            details={"problems": list(stock.problems)},
        )


def _shown(stock: Stock) -> str:
    rows = [one.facts(stock.now) for one in stock.holdings]
    shown = [
        {
            **row,
            "place": f"{row['place']}, service principal" if row["holder"] == "service principal" else row["place"],
            "expires_at": f"{row['expires_at']} (expired)" if row["expired"] else row["expires_at"],
            "manager": f"{row['manager']} ({row['stage']})" if row["stage"] else row["manager"],
        }
        for row in rows
    ]
    commands = [f"{row['key_id']}: {cell(row['command'])}" for row in rows if row["command"]]
    return "\n".join([table(shown, _COLUMNS, empty="no secrets and no keys"), *(["", *commands] if commands else [])])

"""The command that charges usage events from a file."""

from collections.abc import Sequence
from typing import BinaryIO, get_args

import click

from pgledger import replay as replaying
from pgledger import terminal
from pgledger.failures import Exit, explained
from pgledger.options import COLUMN, UNIT_COLUMN, Session
from pgledger.records import Shortfall
from pgledger.replay import Summary, UsageFile
from pgledger.terminal import say_json


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "names",
    "--map",
    type=COLUMN,
    multiple=True,
    help="Which column is the account, amount, code, key or reference, where it is named "
    "otherwise, such as --map amount=credits. May be repeated.",
)
@click.option(
    "quantities",
    "--quantity",
    type=UNIT_COLUMN,
    multiple=True,
    help="Price the rows: which column counts a unit, such as input_token=prompt_tokens. May be "
    "repeated.",
)
@click.option(
    "--usage",
    "code",
    metavar="CODE",
    help="Of what the quantities are, where no column code says it.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many to share the accounts over.",
)
@click.option(
    "--shortfall",
    type=click.Choice(get_args(Shortfall), case_sensitive=False),
    help="What to do when credits run short, as in pgledger spend.",
)
@click.option("--strict", is_flag=True, help="Charge every row or none, in one transaction.")
@click.pass_obj
def replay(
    session: Session,
    file: BinaryIO,
    *,
    names: Sequence[tuple[str, str]],
    quantities: Sequence[tuple[str, str]],
    code: str | None,
    connections: int,
    shortfall: Shortfall | None,
    strict: bool,
) -> None:
    """Charge the usage events of a CSV FILE, or of stdin for "-".

    The first line names the columns: account and amount, and usually key and
    reference; all others are kept as metadata. Amounts are positive whole
    minor units.

    With --quantity there is no amount: a row is what was used, of the code in
    its column code or of --usage, and is charged what that costs when it is
    charged. A cell may be empty.

    A second run charges nothing twice, so what was interrupted is simply run
    again. Without a column "key" the keys are made from the content of the
    whole file and the line: the same file is charged once, but a file that
    was changed is another file. Such a file is charged only when all of its
    rows are good. Each account's rows are charged in the order of the file.

    A bad row is named and left out, and the rest goes on. Exits with 4 when
    there were bad rows, or rows refused for another reason than insufficient
    credits; these are a result, and counted. With --strict a row that cannot
    be charged, for whatever reason, rolls everything back (exit code 4).
    """
    if strict and connections > 1:
        raise click.UsageError("--strict is one transaction, so it takes one connection")
    if code is not None and not quantities:
        raise click.UsageError("--usage needs --quantity: how much was used of what")
    if len(dict(quantities)) < len(quantities):
        raise click.UsageError("--quantity names a unit twice")
    usage = UsageFile(file, dict(names), code=code, quantities=dict(quantities))
    summary = Summary()
    try:
        with terminal.progress(file) as progress:
            replaying.replay(
                usage,
                session.connect,
                summary,
                connections=connections,
                shortfall=shortfall,
                strict=strict,
                progress=progress,
            )
    except (Exception, KeyboardInterrupt) as error:
        told = explained(error)
        if told is None:
            raise
        told.parts["details"] = {
            **told.parts["details"],
            "replay": terminal.summary_record(summary),
        }
        if not session.json:
            terminal.show_problems(summary)
            if summary.charged:
                click.echo(
                    f"{summary.charged} rows were charged; run it again for the rest", err=True
                )
        raise told from error
    if session.json:
        say_json(terminal.summary_record(summary))
    else:
        terminal.show_problems(summary)
        terminal.show_summary(summary)
    if summary.problem_count:
        raise click.exceptions.Exit(Exit.DISAGREES)

"""Four connections started together, round after round: no movement lost, doubled or overspent.

Every race counts the rounds that came out wrong, so that the same race can also be run against a
naive shape of the same function, which it must find wrong.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, LiteralString

import pytest

from tests.races import ROUNDS, balances, for_each_account, unsound, words, wrong_rounds
from tests.sessions import Call, Connect, Connection, Gate, Outcome, Session, race, stepped

STEPPED_ROUNDS = 100

ADD: LiteralString = "select * from pgledger.add_transaction(%s, %s, 'GRANT')"
SPEND: LiteralString = "select * from pgledger.spend(%s, %s)"
ENABLE: LiteralString = "select * from pgledger.enable_transaction(%s, %s)"
CANCEL: LiteralString = "select * from pgledger.cancel_transaction(%s, %s)"

# One statement reads the balance, its fallback and writes: all on the snapshot it started with.
# Each stops at a gate after it read, which is open unless a race closes it.
NAIVE = """
create schema naive;

create function naive.post(account_id text, amount bigint)
returns table (refusal text, replayed boolean)
language sql
as $$
  with known as (
    select coalesce(b.balance, last.running_balance, 0) as balance,
      coalesce(b.seq, last.seq, 0) as seq
    from (values ($1)) asked (account_id)
    left join pgledger.balances b on b.account_id = asked.account_id
    left join lateral (
      select t.seq, t.running_balance
      from pgledger.transactions t
      where t.account_id = asked.account_id
      order by t.seq desc
      limit 1
    ) last on true
    cross join pg_advisory_xact_lock_shared(1)
  ), opened as (
    insert into pgledger.accounts (account_id) values ($1) on conflict (account_id) do nothing
  ), hot as (
    insert into pgledger.balances as b
    select $1, k.balance + $2, k.seq + 1, clock_timestamp(), 0, 0, 'infinity', 0
    from known k
    where k.balance + $2 >= 0
    on conflict (account_id) do update set balance = excluded.balance, seq = b.seq + 1
    returning b.balance, b.seq
  ), posted as (
    insert into pgledger.transactions
      (account_id, seq, amount, running_balance, created_at, type)
    select $1, h.seq, $2, h.balance, clock_timestamp(), 'GRANT' from hot h
    returning seq
  )
  select case when not exists (select from posted) then 'LG001' end, false
$$;

create function naive.spend(account_id text, amount bigint)
returns table (refusal text, replayed boolean)
language sql
as $$ select * from naive.post($1, -$2) $$;

create function naive.enable(account_id text, key text)
returns table (refusal text, replayed boolean)
language sql
as $$
  with pending as (
    select p.*
    from pgledger.pending_transactions p
    cross join pg_advisory_xact_lock_shared(1)
    where p.account_id = $1 and p.key = $2 and p.status = 'PENDING'
  ), enabled as (
    update pgledger.pending_transactions p
    set status = 'ENABLED', settled_at = clock_timestamp()
    from pending
    where p.account_id = pending.account_id and p.key = pending.key
  ), hot as (
    update pgledger.balances b
    set balance = b.balance + p.amount, seq = b.seq + 1
    from pending p
    where b.account_id = p.account_id
    returning b.account_id, b.seq, p.amount, b.balance
  ), posted as (
    insert into pgledger.transactions
      (account_id, seq, amount, running_balance, created_at, type)
    select h.account_id, h.seq, h.amount, h.balance, clock_timestamp(), 'TOP_UP' from hot h
    returning seq
  )
  select null, not exists (select from posted)
$$;
"""

# What a setter saw under its lock: nothing that it forbids may have a later seq.
WITNESSES = """
create schema witness;

create function witness.freeze(account_id text) returns table (seq bigint)
language plpgsql
as $$
begin
  perform pgledger.set_account_status($1, 'FROZEN');
  return query select b.seq from pgledger.balances b where b.account_id = $1;
end
$$;

create function witness.limit(account_id text, min_balance bigint) returns table (seq bigint)
language plpgsql
as $$
begin
  perform pgledger.set_limits($1, $2);
  return query select b.seq from pgledger.balances b where b.account_id = $1;
end
$$;
"""


def import_history(db: Connection, *, accounts: int, amount: int) -> None:
    """Movements of another system, on accounts the ledger has never seen."""
    db.execute(
        """
        insert into pgledger.transactions
          (account_id, seq, amount, running_balance, created_at, type)
        select 'r' || n, 1, %s::bigint, %s::bigint, clock_timestamp(), 'TOP_UP'
        from generate_series(0, %s) n
        """,
        (amount, amount, accounts - 1),
    )


def race_first_movements(
    connect: Connect, db: Connection, add: LiteralString, gate: Gate | None = None
) -> list[tuple[int, list[str]]]:
    """Four first credits of an account that nobody has seen."""
    outcomes = race(
        connect, ROUNDS, lambda n: [(add, (f"r{n}", amount)) for amount in (1, 10, 100, 1000)], gate
    )
    rows = db.execute("select account_id, balance, seq from pgledger.balances").fetchall()
    found = {row["account_id"]: (row["balance"], row["seq"]) for row in rows}
    return [
        (n, [outcome.word for outcome in round_])
        for n, round_ in enumerate(outcomes)
        if words(round_) != {"ok": 4} or found[f"r{n}"] != (1111, 4)
    ]


def race_fallback_spends(
    connect: Connect, db: Connection, spend: LiteralString, gate: Gate | None = None
) -> list[tuple[int, list[str]]]:
    """Four spends of 40 where another system's history leaves 100 and there is no balance row."""
    import_history(db, accounts=ROUNDS, amount=100)
    outcomes = race(connect, ROUNDS, lambda n: [(spend, (f"r{n}", 40))] * 4, gate)
    left = balances(db)
    return [
        (n, [outcome.word for outcome in round_])
        for n, round_ in enumerate(outcomes)
        if words(round_) != {"ok": 2, "LG001": 2} or left[f"r{n}"] != 20
    ]


def race_enables(
    connect: Connect, db: Connection, enable: LiteralString, gate: Gate | None = None
) -> list[tuple[int, list[str]]]:
    """One announced top-up of 70, enabled four times at once."""
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 70, 'paid', is_active => false)")
    outcomes = race(connect, ROUNDS, lambda n: [(enable, (f"r{n}", "paid"))] * 4, gate)
    credited = balances(db)
    return [
        (n, [outcome.word for outcome in round_])
        for n, round_ in enumerate(outcomes)
        if words(round_) != {"ok": 1, "replayed": 3} or credited[f"r{n}"] != 70
    ]


RACES_OF_A_SHAPE = [
    pytest.param(race_first_movements, ADD, "select * from naive.post(%s, %s)", id="first"),
    pytest.param(race_fallback_spends, SPEND, "select * from naive.spend(%s, %s)", id="fallback"),
    pytest.param(race_enables, ENABLE, "select * from naive.enable(%s, %s)", id="enable"),
]


@pytest.mark.parametrize(("run_race", "statement", "_naive"), RACES_OF_A_SHAPE)
def test_calls_started_together_are_never_wrong(
    connect: Connect,
    db: Connection,
    run_race: Callable[[Connect, Connection, LiteralString], list[Any]],
    statement: LiteralString,
    _naive: LiteralString,
) -> None:
    assert run_race(connect, db, statement) == []
    assert unsound(db) == []


@pytest.mark.parametrize(("run_race", "_statement", "naive"), RACES_OF_A_SHAPE)
def test_the_same_races_find_the_naive_one_statement_shape_wrong(
    connect: Connect,
    db: Connection,
    run_race: Callable[[Connect, Connection, LiteralString, Gate], list[Any]],
    _statement: LiteralString,
    naive: LiteralString,
) -> None:
    db.execute(NAIVE)
    assert len(run_race(connect, db, naive, Gate(connect()))) == ROUNDS


@pytest.mark.parametrize(
    ("statement", "argument", "right"),
    [
        pytest.param("select * from naive.post(%s, %s)", 10, 2 * 10, id="naive first"),
        pytest.param(ADD, 10, 2 * 10, id="first"),
        pytest.param("select * from naive.spend(%s, %s)", 60, 40, id="naive fallback"),
        pytest.param(SPEND, 60, 40, id="fallback"),
        pytest.param("select * from naive.enable(%s, %s)", "paid", 70, id="naive enable"),
        pytest.param(ENABLE, "paid", 70, id="enable"),
    ],
)
def test_of_two_calls_that_overlap_only_the_naive_shape_goes_wrong(
    request: pytest.FixtureRequest,
    connect: Connect,
    db: Connection,
    *,
    statement: LiteralString,
    argument: object,
    right: int,
) -> None:
    db.execute(NAIVE)
    if statement == SPEND or "naive.spend" in statement:
        import_history(db, accounts=1, amount=100)
    elif argument == "paid":
        for_each_account(db, 1, "pgledger.top_up(account, 70, 'paid', is_active => false)")

    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(statement, "r0", argument)
        assert second.start(statement, "r0", argument), "the calls did not overlap"
        first.run("commit")
        second.finish()

    hot = db.execute("select balance from pgledger.balances").fetchall()
    is_right = balances(db) == {"r0": right} and hot == [{"balance": right}]
    assert is_right is not request.node.callspec.id.startswith("naive")


def test_the_naive_shape_is_right_when_calls_come_one_by_one(db: Connection) -> None:
    db.execute(NAIVE)
    import_history(db, accounts=1, amount=100)
    spend: LiteralString = "select refusal from naive.spend('r0', 40)"
    refusals = [db.execute(spend).fetchall()[0]["refusal"] for _ in range(4)]
    assert refusals == [None, None, "LG001", "LG001"]

    db.execute("select pgledger.top_up('r1', 70, 'paid', is_active => false)")
    enable: LiteralString = "select replayed from naive.enable('r1', 'paid')"
    assert [db.execute(enable).fetchall()[0]["replayed"] for _ in range(2)] == [False, True]

    for amount in (1, 10, 100, 1000):
        db.execute("select naive.post('r2', %s)", (amount,))
    assert balances(db) == {"r0": 20, "r1": 70, "r2": 1111}


@pytest.mark.parametrize("amount", [60, -60], ids=["credit", "debit"])
def test_one_key_at_once_has_one_effect_and_everybody_is_told_the_same(
    connect: Connect, db: Connection, amount: int
) -> None:
    # 100 is enough for one debit of 60: a repeat must be answered before funds are looked at.
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    call: LiteralString = "select * from pgledger.add_transaction(%s, %s, 'ADJUSTMENT', 'k')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        told = {(o.row["seq"], o.row["amount"], o.row["balance"]) for o in round_}
        return words(round_) == {"ok": 1, "replayed": 3} and told == {(2, amount, 100 + amount)}

    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}", amount))] * 4, is_right) == []
    assert unsound(db) == []


def test_one_key_at_once_for_two_amounts_goes_to_one_of_them(
    connect: Connect, db: Connection
) -> None:
    call: LiteralString = "select * from pgledger.top_up(%s, %s, 'k')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2}

    amounts = (5, 7, 5, 7)
    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}", a)) for a in amounts], is_right) == []
    assert unsound(db) == []


def test_one_key_announced_and_posted_at_once_is_one_of_them(
    connect: Connect, db: Connection
) -> None:
    call: LiteralString = "select * from pgledger.top_up(%s, 5, 'k', is_active => %s)"
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 1)")

    def is_right(_: int, round_: list[Outcome]) -> bool:
        winners = {o.row["status"] for o in round_ if o.sqlstate is None}
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2} and len(winners) == 1

    ways = (True, False, True, False)
    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}", w)) for w in ways], is_right) == []
    assert unsound(db) == []


@pytest.mark.parametrize("funded", [False, True], ids=["unknown", "funded"])
def test_one_external_id_under_two_keys_at_once_is_credited_once(
    connect: Connect, db: Connection, *, funded: bool
) -> None:
    call: LiteralString = "select * from pgledger.top_up(%s, 50, %s, external_id => 'pi_1')"
    if funded:
        for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")

    def is_right(_: int, round_: list[Outcome]) -> bool:
        told = {(o.row["seq"], o.row["key"], o.row["amount"]) for o in round_}
        return words(round_) == {"ok": 1, "replayed": 3} and len(told) == 1

    keys = ("webhook", "success page") * 2
    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}", k)) for k in keys], is_right) == []
    assert set(balances(db).values()) == {150 if funded else 50}
    assert unsound(db) == []


def test_the_last_credits_go_to_exactly_as_many_spends_as_they_cover(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "LG001": 1}

    assert wrong_rounds(connect, lambda n: [(SPEND, (f"r{n}", 30))] * 4, is_right) == []
    assert set(balances(db).values()) == {10}
    assert unsound(db) == []


def test_partial_spends_of_the_last_credits_share_them_to_the_last_one(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    call: LiteralString = "select * from pgledger.spend(%s, 40, shortfall => 'PARTIAL')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        spent = sorted(o.row["amount"] for o in round_ if o.sqlstate is None)
        return words(round_) == {"ok": 3, "LG001": 1} and spent == [-40, -40, -20]

    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}",))] * 4, is_right) == []
    assert set(balances(db).values()) == {0}
    assert unsound(db) == []


def test_debts_made_at_once_stop_at_the_debt_floor(connect: Connect, db: Connection) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 10)")
    for_each_account(db, ROUNDS, "pgledger.set_limits(account, debt_floor => -100)")
    call: LiteralString = "select * from pgledger.spend(%s, 30, shortfall => 'DEBT')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "LG001": 1}

    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}",))] * 4, is_right) == []
    assert set(balances(db).values()) == {-80}
    assert unsound(db) == []


def test_two_first_announcements_at_once_are_both_recorded(
    connect: Connect, db: Connection
) -> None:
    call: LiteralString = "select * from pgledger.top_up(%s, 5, %s, is_active => false)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        # Two calls for each of two keys: one announces, one repeats.
        return words(round_) == {"ok": 2, "replayed": 2}

    keys = ("a", "b") * 2
    assert wrong_rounds(connect, lambda n: [(call, (f"r{n}", k)) for k in keys], is_right) == []
    counted = db.execute(
        "select pending_rows, count(*) from pgledger.balances group by 1"
    ).fetchall()
    assert counted == [{"pending_rows": 2, "count": ROUNDS}]
    assert unsound(db) == []


def test_opening_an_account_and_its_first_movements_at_once_lose_nothing(
    connect: Connect, db: Connection
) -> None:
    opening: LiteralString = "select * from pgledger.open_account(%s, min_balance => -50)"

    def calls(n: int) -> list[Call]:
        account = f"r{n}"
        movements: list[Call] = [(ADD, (account, 7)), (SPEND, (account, 30))]
        return [(opening, (account,))] * 2 + movements

    def is_right(n: int, round_: list[Outcome]) -> bool:
        first, second, credit, debit = round_
        # Whoever came first decided the floor, and both openings were told the same.
        floors = {first.row["min_balance"], second.row["min_balance"]}
        spent = 0 if debit.word == "LG001" else 30
        return (
            credit.word == "ok"
            and debit.word in ({"ok", "LG001"} if floors == {-50} else {"LG001"})
            and len(floors) == 1
            and found[f"r{n}"] == 7 - spent
        )

    outcomes = race(connect, ROUNDS, calls)
    found = balances(db)
    assert [n for n, round_ in enumerate(outcomes) if not is_right(n, round_)] == []
    assert unsound(db) == []


def test_refusals_returned_as_rows_lose_no_first_movement(connect: Connect, db: Connection) -> None:
    # A refused call takes away the row that it made to be locked; others may wait for that row.
    refused: LiteralString = "select * from pgledger.spend(%s, 500, raise_refusals => false)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return [o.word for o in round_] == ["LG001", "LG001", "ok", "ok"]

    def calls(n: int) -> list[Call]:
        return [(refused, (f"r{n}",))] * 2 + [(ADD, (f"r{n}", 7))] * 2

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {14}
    assert unsound(db) == []


def test_an_announcement_is_either_enabled_or_cancelled_however_they_race(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 70, 'paid', is_active => false)")
    outcomes = race(
        connect,
        ROUNDS,
        lambda n: [(verb, (f"r{n}", "paid")) for verb in (ENABLE, CANCEL, ENABLE, CANCEL)],
    )
    credited = balances(db)
    wrong = []
    for n, round_ in enumerate(outcomes):
        enables, cancels = words(round_[::2]), words(round_[1::2])
        once, never = {"ok": 1, "replayed": 1}, {"LG007": 2}
        enabled = (enables, cancels, credited.get(f"r{n}", 0)) == (once, never, 70)
        cancelled = (enables, cancels, credited.get(f"r{n}", 0)) == (never, once, 0)
        if not (enabled or cancelled):
            wrong.append((n, [o.word for o in round_]))
    assert wrong == []
    assert unsound(db) == []


def test_money_that_arrives_while_its_announcement_is_cancelled_is_credited_once(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 70, 'paid', is_active => false)")
    paid: LiteralString = "select * from pgledger.enable_transaction(%s, %s, external_id => 'pi_1')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_[::2]) == {"ok": 1, "replayed": 1} and set(words(round_[1::2])) <= {
            "ok",
            "replayed",
            "LG007",
        }

    def calls(n: int) -> list[Call]:
        return [(verb, (f"r{n}", "paid")) for verb in (paid, CANCEL, paid, CANCEL)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {70}
    assert unsound(db) == []


def test_no_spend_is_posted_after_the_account_was_frozen(connect: Connect, db: Connection) -> None:
    # The account is known and its balance row is not: whoever comes first has to build it.
    db.execute(WITNESSES)
    for_each_account(db, ROUNDS, "pgledger.open_account(account)")
    db.execute("delete from pgledger.balances")
    import_history(db, accounts=ROUNDS, amount=100)
    freeze: LiteralString = "select * from witness.freeze(%s)"
    outcomes = race(
        connect, ROUNDS, lambda n: [(freeze, (f"r{n}",))] + [(SPEND, (f"r{n}", 10))] * 3
    )
    rows = db.execute("select account_id, seq from pgledger.balances").fetchall()
    last_seq = {row["account_id"]: row["seq"] for row in rows}
    wrong = [
        (n, [o.word for o in round_])
        for n, round_ in enumerate(outcomes)
        if round_[0].row["seq"] != last_seq[f"r{n}"]
        or words(round_[1:]) != Counter(ok=last_seq[f"r{n}"] - 1, LG004=4 - last_seq[f"r{n}"])
    ]
    assert wrong == []
    assert unsound(db) == []


@pytest.mark.parametrize("history", [False, True], ids=["with a balance row", "with history only"])
def test_no_spend_goes_below_a_floor_after_it_was_set(
    connect: Connect, db: Connection, *, history: bool
) -> None:
    db.execute(WITNESSES)
    for_each_account(db, ROUNDS, "pgledger.open_account(account, min_balance => -1000)")
    if history:
        db.execute("delete from pgledger.balances")
        import_history(db, accounts=ROUNDS, amount=1)
    limit: LiteralString = "select * from witness.limit(%s, 0)"
    outcomes = race(connect, ROUNDS, lambda n: [(limit, (f"r{n}",))] + [(SPEND, (f"r{n}", 10))] * 3)
    limited = {f"r{n}": round_[0].row["seq"] for n, round_ in enumerate(outcomes)}
    later = db.execute(
        "select account_id, seq from pgledger.transactions where running_balance < 0"
    ).fetchall()
    assert [row for row in later if row["seq"] > limited[row["account_id"]]] == []
    assert [n for n, r in enumerate(outcomes) if not set(words(r[1:])) <= {"ok", "LG001"}] == []
    assert unsound(db) == []


def test_a_raised_limit_is_either_seen_or_not_but_never_half(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.open_account(account)")
    limit: LiteralString = "select * from pgledger.set_limits(%s, %s)"
    outcomes = race(
        connect, ROUNDS, lambda n: [(limit, (f"r{n}", -20))] + [(SPEND, (f"r{n}", 10))] * 3
    )
    spent = balances(db)
    wrong = [
        n
        for n, round_ in enumerate(outcomes)
        if round_[0].word != "ok"
        or words(round_[1:])["ok"] > 2
        or spent.get(f"r{n}", 0) != -10 * words(round_[1:])["ok"]
        or not set(words(round_[1:])) <= {"ok", "LG001"}
    ]
    assert wrong == []
    assert unsound(db) == []


def test_movements_of_every_kind_at_once_leave_one_gapless_journal(
    connect: Connect, db: Connection
) -> None:
    # All on one account, so that every kind meets every other one.
    for_each_account(db, 1, "pgledger.grant_credits(account, 100000)")
    announce: LiteralString = "select * from pgledger.top_up('r0', 3, %s, is_active => false)"
    ceiling: LiteralString = "select * from pgledger.top_up('r0', 5, ceiling_balance => 2000000)"
    spend: LiteralString = "select * from pgledger.spend('r0', 2, %s)"
    enable: LiteralString = "select * from pgledger.enable_transaction('r0', %s)"

    def calls(n: int) -> list[Call]:
        spends: list[Call] = [(spend, (f"s{n}",))]
        if n % 2 == 0:
            return [*spends, *spends, (announce, (f"p{n}",)), (ceiling, ())]
        enables: list[Call] = [(enable, (f"p{n - 1}",))]
        return [*spends, *enables, *enables, (ceiling, ())]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "replayed": 1}

    assert wrong_rounds(connect, calls, is_right) == []
    announced = ROUNDS // 2
    assert balances(db) == {"r0": 100000 + 5 * ROUNDS - 2 * ROUNDS + 3 * announced}
    assert unsound(db) == []


def prepare_nothing(_: Session, __: str) -> None:
    """The account has never been seen."""


def prepare_balance_row(session: Session, account: str) -> None:
    session.run("select pgledger.grant_credits(%s, 5)", account)


def prepare_history(session: Session, account: str) -> None:
    session.run(
        """
        insert into pgledger.transactions
          (account_id, seq, amount, running_balance, created_at, type)
        values (%s, 1, 5, 5, clock_timestamp(), 'TOP_UP')
        """,
        account,
    )


STARTS = [
    pytest.param(prepare_balance_row, id="with a balance row"),
    pytest.param(prepare_history, id="with history only"),
    pytest.param(prepare_nothing, id="unknown"),
]


@pytest.mark.parametrize("prepare", STARTS)
@pytest.mark.parametrize(
    ("ending", "told"), [("commit", "ok"), ("rollback", "LG001")], ids=["commits", "rolls back"]
)
def test_a_spend_waits_for_a_top_up_in_flight_and_follows_its_ending(
    connect: Connect,
    db: Connection,
    prepare: Callable[[Session, str], None],
    ending: LiteralString,
    told: str,
) -> None:
    heard = []
    with stepped(connect) as (payer, spender):
        for n in range(STEPPED_ROUNDS):
            account = f"r{n}"
            prepare(payer, account)
            payer.run("begin")
            payer.run("select * from pgledger.top_up(%s, 10)", account)
            # 10 are only there with the top-up; what was there before does not cover them.
            assert spender.start(SPEND, account, 10), "the spend did not wait for the top-up"
            payer.run(ending)
            heard.append(spender.finish().word)
    assert heard == [told] * STEPPED_ROUNDS
    assert unsound(db) == []


@pytest.mark.parametrize("prepare", STARTS)
def test_a_returned_refusal_in_flight_hides_no_credit_that_follows_in_its_transaction(
    connect: Connect, db: Connection, prepare: Callable[[Session, str], None]
) -> None:
    with stepped(connect) as (payer, spender):
        prepare(payer, "r0")
        payer.run("begin")
        refused = payer.run("select * from pgledger.spend('r0', 99, raise_refusals => false)")
        assert refused.word == "LG001"
        assert spender.start(SPEND, "r0", 10), "the spend did not wait for the first transaction"
        payer.run("select pgledger.top_up('r0', 10)")
        payer.run("commit")
        assert spender.finish().word == "ok"
    assert unsound(db) == []


def test_a_spend_that_waited_for_a_freeze_is_refused(connect: Connect, db: Connection) -> None:
    with stepped(connect) as (officer, spender):
        prepare_history(officer, "r0")
        officer.run("begin")
        officer.run("select pgledger.set_account_status('r0', 'FROZEN')")
        assert spender.start(SPEND, "r0", 1)
        officer.run("commit")
        assert spender.finish().word == "LG004"
    assert unsound(db) == []


def test_a_freeze_waits_for_the_spend_that_builds_the_balance_row(
    connect: Connect, db: Connection
) -> None:
    with stepped(connect) as (officer, spender):
        prepare_history(officer, "r0")
        spender.run("begin")
        assert spender.run(SPEND, "r0", 1).word == "ok"
        assert officer.start("select pgledger.set_account_status('r0', 'FROZEN')")
        spender.run("commit")
        assert officer.finish().sqlstate is None
        assert spender.run(SPEND, "r0", 1).word == "LG004"
    assert unsound(db) == []


def test_two_settings_at_once_are_both_kept(connect: Connect, db: Connection) -> None:
    # What is not given stays as it is, and what it is shows only under the lock.
    with stepped(connect) as (first, second):
        first.run("select pgledger.open_account('r0')")
        first.run("begin")
        first.run("select pgledger.set_limits('r0', min_balance => -100)")
        assert second.start("select * from pgledger.set_limits('r0', debt_floor => -200)")
        first.run("commit")
        limits = second.finish().row
    assert (limits["min_balance"], limits["debt_floor"]) == (-100, -200)
    assert unsound(db) == []


@pytest.mark.parametrize("external_id", [None, "pi_1"], ids=["fast path", "slow path"])
def test_a_movement_says_when_it_was_posted_and_not_when_its_transaction_began(
    connect: Connect, db: Connection, external_id: str | None
) -> None:
    call: LiteralString = "select * from pgledger.top_up('r0', 1, external_id => %s)"
    clock: LiteralString = "select clock_timestamp() as at"
    with stepped(connect, 1) as (caller,):
        prepare_balance_row(caller, "r0")
        caller.run("begin")
        before = caller.run(clock).row["at"]
        posted = caller.run(call, external_id).row["created_at"]
        after = caller.run(clock).row["at"]
        caller.run("commit")
    assert before < posted < after
    assert unsound(db) == []


@pytest.mark.parametrize("external_id", [None, "pi_1"], ids=["fast path", "slow path"])
def test_a_movement_is_never_earlier_than_the_one_before_it(
    db: Connection, external_id: str | None
) -> None:
    # As after a failover to a machine whose clock is behind: the past lies in the future.
    (imported,) = db.execute(
        """
        insert into pgledger.transactions
          (account_id, seq, amount, running_balance, created_at, type)
        values ('r0', 1, 5, 5, clock_timestamp() + interval '1 hour', 'TOP_UP')
        returning created_at
        """
    ).fetchall()
    db.execute("select pgledger.open_account('r0')")
    posted = db.execute(
        "select * from pgledger.top_up('r0', 1, external_id => %s)", (external_id,)
    ).fetchall()
    assert [row["created_at"] for row in posted] == [imported["created_at"]]
    assert unsound(db) == []


def test_the_clock_of_a_call_that_waited_is_read_again(connect: Connect, db: Connection) -> None:
    with stepped(connect) as (first, second):
        prepare_balance_row(first, "r0")
        first.run("begin")
        first.run(ADD, "r0", 1)
        assert second.start("select * from pgledger.top_up('r0', 1, external_id => 'pi_1')")
        released = first.run("select clock_timestamp() as at").row["at"]
        first.run("commit")
        # The slow path says when it posted, not when it was asked.
        assert second.finish().row["created_at"] > released
    assert unsound(db) == []

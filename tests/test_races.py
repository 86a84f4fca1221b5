"""Holds, refunds, reversals, transfers, auto-top-ups and events under four connections at once.

As in test_concurrency: rounds that came out wrong are counted, and there are none.
"""

from collections import Counter
from typing import LiteralString

import pytest

from tests.races import ROUNDS, balances, for_each_account, unsound, words, wrong_rounds
from tests.sessions import Call, Connect, Connection, Outcome, race

SPEND: LiteralString = "select * from pgledger.spend(%s, %s)"
HOLD: LiteralString = "select * from pgledger.hold(%s, %s)"
CAPTURE: LiteralString = "select * from pgledger.capture(%s, 'h')"
CAPTURE_SLOWLY: LiteralString = "select * from pgledger.capture(%s, 'h', metadata => '{}')"
RELEASE: LiteralString = "select * from pgledger.release(%s, 'h')"
TRANSFER: LiteralString = "select * from pgledger.transfer(%s, %s, %s, %s)"
ENABLE: LiteralString = "select * from pgledger.enable_transaction(%s, '#auto-1')"

# What happens at one instant, seen under the lock, so that the order of a round can be told.
WITNESSES = """
create schema witness;

-- The hold's time has come: it and the balance row say so, as if the clock had moved.
create function witness.expire(account_id text) returns void
language plpgsql
as $$
declare
  v_at timestamptz;
begin
  perform from pgledger.balances b where b.account_id = $1 for update;
  v_at := clock_timestamp();
  update pgledger.pending_transactions p
  set expires_at = v_at
  where p.account_id = $1 and p.status = 'PENDING';
  if found then
    update pgledger.balances b set attention_at = v_at where b.account_id = $1;
  end if;
end
$$;

create function witness.set_auto_top_up(account_id text, threshold bigint, amount bigint)
returns table (seq bigint)
language plpgsql
as $$
begin
  perform pgledger.set_auto_top_up($1, $2, $3);
  return query select b.seq from pgledger.balances b where b.account_id = $1;
end
$$;

-- What each worker was handed out, and in which order.
create table witness.handed_out (
  place bigint generated always as identity,
  worker int, account_id text, seq bigint,
  acked boolean not null default false, early boolean not null default false
);

create function witness.claim(worker int) returns void
language plpgsql
as $$
begin
  insert into witness.handed_out (worker, account_id, seq)
  select $1, c.account_id, c.seq from pgledger.claim_events(3, '1 hour') c;

  -- What came before is acknowledged, or this very worker's.
  update witness.handed_out h
  set early = true
  where h.worker = $1 and not h.acked and exists (
    select from pgledger.events e
    where e.account_id = h.account_id and e.seq < h.seq and e.acked_at is null
      and not exists (
        select from witness.handed_out o
        where o.worker = $1 and o.account_id = e.account_id and o.seq = e.seq));
end
$$;

create function witness.ack(worker int) returns void
language sql
as $$
  with own as (
    update witness.handed_out h set acked = true
    where h.worker = $1 and not h.acked
    returning h.account_id, h.seq
  )
  select pgledger.ack_events(array_agg(o.account_id), array_agg(o.seq))
  from own o
  having count(*) > 0
$$;
"""


def with_holds(db: Connection, hold: LiteralString = "pgledger.hold(account, 60, 'h')") -> None:
    """Accounts with 100 credits, 60 of them held."""
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    for_each_account(db, ROUNDS, hold)


def held(db: Connection) -> set[int]:
    """What the balance rows say is held, every value once."""
    return {row["held"] for row in db.execute("select held from pgledger.balances").fetchall()}


def available(db: Connection) -> set[int]:
    """What the balance rows leave to be spent, every value once."""
    found = db.execute("select distinct balance - held as left from pgledger.balances").fetchall()
    return {row["left"] for row in found}


def intents(db: Connection) -> dict[str, list[int]]:
    """The amounts of every account's auto-top-ups that were asked for, oldest first."""
    found = db.execute(
        """
        select account_id, array_agg(amount order by key) as amounts
        from pgledger.pending_transactions
        where key like '#auto-%%'
        group by 1
        """
    ).fetchall()
    return {row["account_id"]: row["amounts"] for row in found}


def events(db: Connection) -> Counter[tuple[str, str]]:
    found = db.execute("select account_id, kind from pgledger.events").fetchall()
    return Counter((row["account_id"], row["kind"]) for row in found)


def of_every_account(kind: str, count: int = 1) -> Counter[tuple[str, str]]:
    return Counter({(f"r{n}", kind): count for n in range(ROUNDS)})


# Holds


def test_holds_and_spends_at_once_reserve_no_credit_twice(connect: Connect, db: Connection) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "LG001": 1}

    def calls(n: int) -> list[Call]:
        return [(verb, (f"r{n}", 30)) for verb in (HOLD, SPEND, HOLD, SPEND)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert available(db) == {10}
    assert unsound(db) == []


@pytest.mark.parametrize(
    ("grant", "left"),
    [("pgledger.grant_credits(account, 100)", 70), ("pgledger.grant_credits(account, 30)", 0)],
    ids=["rich", "only just covered"],
)
def test_one_key_held_and_spent_at_once_is_one_of_them(
    connect: Connect, db: Connection, grant: LiteralString, left: int
) -> None:
    for_each_account(db, ROUNDS, grant)
    hold: LiteralString = "select * from pgledger.hold(%s, 30, 'k')"
    spend: LiteralString = "select * from pgledger.spend(%s, 30, 'k')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        told = {o.row["status"] for o in round_ if o.sqlstate is None}
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2} and len(told) == 1

    def calls(n: int) -> list[Call]:
        return [(verb, (f"r{n}",)) for verb in (hold, spend, hold, spend)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert available(db) == {left}
    assert unsound(db) == []


@pytest.mark.parametrize("capture", [CAPTURE, CAPTURE_SLOWLY], ids=["fast", "slow"])
def test_a_hold_is_either_captured_or_released_however_they_race(
    connect: Connect, db: Connection, capture: LiteralString
) -> None:
    with_holds(db)
    outcomes = race(
        connect,
        ROUNDS,
        lambda n: [(verb, (f"r{n}",)) for verb in (capture, RELEASE, capture, RELEASE)],
    )
    left = balances(db)
    once, never = {"ok": 1, "replayed": 1}, {"LG007": 2}
    wrong = [
        (n, [o.word for o in round_])
        for n, round_ in enumerate(outcomes)
        if (words(round_[::2]), words(round_[1::2]), left[f"r{n}"])
        not in ((once, never, 40), (never, once, 100))
    ]
    assert wrong == []
    assert held(db) == {0}
    assert unsound(db) == []


@pytest.mark.parametrize("capture", [CAPTURE, CAPTURE_SLOWLY], ids=["fast", "slow"])
def test_a_hold_is_either_captured_or_expires_and_its_credits_go_to_one_of_both(
    connect: Connect, db: Connection, capture: LiteralString
) -> None:
    db.execute(WITNESSES)
    with_holds(db, "pgledger.hold(account, 60, 'h', clock_timestamp() + interval '1 hour')")
    expire: LiteralString = "select from witness.expire(%s)"

    def calls(n: int) -> list[Call]:
        # 50 are free only once the hold has expired.
        return [
            (capture, (f"r{n}",)),
            (expire, (f"r{n}",)),
            (SPEND, (f"r{n}", 50)),
            ("select pgledger.run_due(1)", ()),
        ]

    outcomes = race(connect, ROUNDS, calls)
    left = balances(db)
    expired = events(db)
    wrong = []
    for n, round_ in enumerate(outcomes):
        captured, _, spent, _ = (o.word for o in round_)
        right = {("ok", "LG001"): 40, ("LG007", "LG001"): 100, ("LG007", "ok"): 50}
        closed = expired[(f"r{n}", "hold_expired")]
        if right.get((captured, spent)) != left[f"r{n}"] or (captured == "ok" and closed):
            wrong.append((n, captured, spent))
    assert wrong == []
    assert unsound(db) == []

    while db.execute("select pgledger.run_due() as settled").fetchall() != [{"settled": 0}]:
        pass
    lapsed = sum(round_[0].word == "LG007" for round_ in outcomes)
    assert events(db).total() == lapsed
    assert held(db) == {0}
    assert unsound(db) == []


def test_captures_of_one_hold_with_different_amounts_spend_one_of_them(
    connect: Connect, db: Connection
) -> None:
    with_holds(db)
    capture: LiteralString = "select * from pgledger.capture(%s, 'h', %s)"
    outcomes = race(connect, ROUNDS, lambda n: [(capture, (f"r{n}", a)) for a in (20, 30, 20, 30)])
    left = balances(db)
    wrong = [
        (n, [o.word for o in round_])
        for n, round_ in enumerate(outcomes)
        if words(round_) != {"ok": 1, "replayed": 1, "LG002": 2}
        or {o.row["amount"] for o in round_ if o.sqlstate is None} != {left[f"r{n}"] - 100}
    ]
    assert wrong == []
    assert held(db) == {0}
    assert unsound(db) == []


# Refunds and reversals


def test_reversals_at_once_never_exceed_their_original(connect: Connect, db: Connection) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.spend(account, 60, 'u')")
    part: LiteralString = "select * from pgledger.reverse_transaction(%s, 'u', 25, %s)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 2, "LG009": 2}

    def calls(n: int) -> list[Call]:
        return [(part, (f"r{n}", key)) for key in "abcd"]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {90}
    assert unsound(db) == []


def test_one_reversal_at_once_by_key_and_whole_by_another_undoes_the_original_once(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 60, 'gift')")
    whole: LiteralString = "select * from pgledger.reverse_transaction(%s, 'gift', key => %s)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 1, "LG009": 2}

    def calls(n: int) -> list[Call]:
        return [(whole, (f"r{n}", key)) for key in "abab"]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {0}
    assert unsound(db) == []


@pytest.mark.parametrize("spent", [0, 20], ids=["unspent", "partly spent"])
def test_of_a_refund_and_a_dispute_of_one_payment_only_one_takes_the_credits_back(
    connect: Connect, db: Connection, spent: int
) -> None:
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 50, 'paid', external_id => 'pi_1')")
    if spent:
        for_each_account(db, ROUNDS, "pgledger.spend(account, 20)")
    refund: LiteralString = "select * from pgledger.refund(%s, 'paid', 50, external_id => 're_1')"
    dispute: LiteralString = """
        select * from pgledger.refund(
          %s, 'paid', external_id => 'dp_1', fail_insufficient_credits => false)"""

    def is_right(_: int, round_: list[Outcome]) -> bool:
        refunds, disputes = words(round_[::2]), words(round_[1::2])
        once, never = {"ok": 1, "replayed": 1}, {"LG009": 2}
        if spent:
            # What was spent cannot be refunded, but it can be disputed.
            return disputes == once and set(refunds) <= {"LG001", "LG009"}
        return (refunds, disputes) in ((once, never), (never, once))

    def calls(n: int) -> list[Call]:
        return [(verb, (f"r{n}",)) for verb in (refund, dispute, refund, dispute)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {-spent}
    assert unsound(db) == []


# Transfers


def test_transfers_in_opposite_directions_wait_for_each_other_and_lose_nothing(
    connect: Connect, db: Connection
) -> None:
    db.execute("select pgledger.grant_credits('left', 10000), pgledger.grant_credits('Right', 1)")

    def calls(n: int) -> list[Call]:
        there: Call = (TRANSFER, ("left", "Right", 30, f"there {n}"))
        back: Call = (TRANSFER, ("Right", "left", 1, f"back {n}"))
        return [there, back, there, back]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 2, "replayed": 2}

    assert wrong_rounds(connect, calls, is_right) == []
    assert balances(db) == {"left": 10000 - 29 * ROUNDS, "Right": 1 + 29 * ROUNDS}
    assert unsound(db) == []


def test_transfers_around_a_ring_of_three_wait_for_each_other_and_lose_nothing(
    connect: Connect, db: Connection
) -> None:
    # Orders that a locale would see otherwise than "C" does.
    ring = ("a", "B", "ä")
    for account in ring:
        db.execute("select pgledger.grant_credits(%s, 10000)", (account,))

    def calls(n: int) -> list[Call]:
        around = [*zip(ring, ring[1:] + ring[:1], (5, 7, 11), strict=True), ("ä", "B", 2)]
        return [(TRANSFER, (*legs, f"{n} from {legs[0]} to {legs[1]}")) for legs in around]

    assert wrong_rounds(connect, calls, lambda _, r: words(r) == {"ok": 4}) == []
    assert balances(db) == {
        "a": 10000 + 6 * ROUNDS,
        "B": 10000 + ROUNDS * (5 - 7 + 2),
        "ä": 10000 - 6 * ROUNDS,
    }
    assert unsound(db) == []


@pytest.mark.parametrize("shared", ["sender", "receiver"])
def test_one_key_at_once_moves_credits_between_one_pair_of_accounts(
    connect: Connect, db: Connection, shared: str
) -> None:
    for prefix in "abc":
        db.execute(
            "select pgledger.grant_credits(%s || n, 10) from generate_series(0, %s) n",
            (prefix, ROUNDS - 1),
        )

    def calls(n: int) -> list[Call]:
        if shared == "sender":
            pairs = [(f"a{n}", f"b{n}"), (f"a{n}", f"c{n}")] * 2
        else:
            pairs = [(f"b{n}", f"a{n}"), (f"c{n}", f"a{n}")] * 2
        return [(TRANSFER, (*pair, 7, "k")) for pair in pairs]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2}

    assert wrong_rounds(connect, calls, is_right) == []
    left = balances(db)
    moved = {left[f"a{n}"] for n in range(ROUNDS)}
    assert moved == ({3} if shared == "sender" else {17})
    assert sum(left.values()) == 3 * 10 * ROUNDS
    assert unsound(db) == []


# Auto-top-up


@pytest.mark.parametrize("verb", [SPEND, HOLD], ids=["spends", "holds"])
def test_a_storm_below_the_threshold_asks_for_one_top_up(
    connect: Connect, db: Connection, verb: LiteralString
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.set_auto_top_up(account, 90, 500)")
    for_each_account(db, ROUNDS, "pgledger.set_low_balance_level(account, 50)")
    assert (
        wrong_rounds(
            connect, lambda n: [(verb, (f"r{n}", 20))] * 4, lambda _, r: words(r) == {"ok": 4}
        )
        == []
    )
    assert intents(db) == {f"r{n}": [500] for n in range(ROUNDS)}
    assert events(db) == of_every_account("top_up_requested") + of_every_account("low_balance")
    assert unsound(db) == []


@pytest.mark.parametrize("limited", [False, True], ids=["no limit", "one a month"])
def test_a_storm_tops_up_at_once_as_often_as_it_crosses_the_threshold(
    connect: Connect, db: Connection, *, limited: bool
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    instant: LiteralString = "pgledger.set_auto_top_up(account, 90, 15, 'INSTANT')"
    at_most_one: LiteralString = (
        "pgledger.set_auto_top_up(account, 90, 15, 'INSTANT', monthly_count_limit => 1)"
    )
    for_each_account(db, ROUNDS, at_most_one if limited else instant)

    # 100, 80 + 15, 75 + 15, 70 + 15, 65 + 15; with the limit, 80 + 15, 75, 55, 35.
    assert (
        wrong_rounds(
            connect, lambda n: [(SPEND, (f"r{n}", 20))] * 4, lambda _, r: words(r) == {"ok": 4}
        )
        == []
    )
    assert set(balances(db).values()) == {35 if limited else 80}
    assert unsound(db) == []


def test_settings_changed_during_a_storm_count_for_what_comes_after_them(
    connect: Connect, db: Connection
) -> None:
    db.execute(WITNESSES)
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.set_auto_top_up(account, 50, 10)")
    change: LiteralString = "select * from witness.set_auto_top_up(%s, 90, 7)"
    outcomes = race(
        connect, ROUNDS, lambda n: [(change, (f"r{n}",))] + [(SPEND, (f"r{n}", 30))] * 3
    )
    # 70, 40 and 10 are left: which of them is below the threshold depends on when it changed.
    right = {1: [7], 2: [7], 3: [10, 7], 4: [10]}
    asked = intents(db)
    wrong = [
        (n, round_[0].row["seq"], asked[f"r{n}"])
        for n, round_ in enumerate(outcomes)
        if words(round_) != {"ok": 4} or asked[f"r{n}"] != right[round_[0].row["seq"]]
    ]
    assert wrong == []
    assert unsound(db) == []


def test_an_intent_enabled_while_spends_cross_again_is_followed_by_one_more_or_none(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 200)")
    for_each_account(db, ROUNDS, "pgledger.set_auto_top_up(account, 150, 30)")
    for_each_account(db, ROUNDS, "pgledger.spend(account, 60)")

    def calls(n: int) -> list[Call]:
        return [(ENABLE, (f"r{n}",)), (SPEND, (f"r{n}", 25))] * 2

    outcomes = race(connect, ROUNDS, calls)
    asked = intents(db)
    wrong = []
    for n, round_ in enumerate(outcomes):
        # A spend after the enabling asks anew; the last word of the journal is then not it.
        again = round_[0].row["seq"] < 5
        right = words(round_[::2]) == {"ok": 1, "replayed": 1} and words(round_[1::2]) == {"ok": 2}
        if not right or len(asked[f"r{n}"]) != 1 + again:
            wrong.append((n, [o.word for o in round_], asked[f"r{n}"]))
    assert wrong == []
    assert set(balances(db).values()) == {120}
    assert unsound(db) == []


def test_an_intent_enabled_and_cancelled_at_once_arms_the_next_one_once(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.grant_credits(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.set_auto_top_up(account, 90, 10)")
    for_each_account(db, ROUNDS, "pgledger.spend(account, 50)")
    cancel: LiteralString = "select * from pgledger.cancel_transaction(%s, '#auto-1')"
    check: LiteralString = "select * from pgledger.check_auto_top_up(%s)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        enabled, cancelled, *checks = (o.word for o in round_)
        # Whoever checks finds the intent that waits, or asks for the next one.
        asked = set(checks) <= {"ok", "replayed"}
        return asked and {enabled, cancelled} == {"ok", "LG007"}

    def calls(n: int) -> list[Call]:
        return [(verb, (f"r{n}",)) for verb in (ENABLE, cancel, check, check)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert max(len(asked) for asked in intents(db).values()) <= 2
    waiting = db.execute(
        """
        select count(*) as count
        from pgledger.pending_transactions p
        where p.status = 'PENDING'
        group by p.account_id
        having count(*) > 1
        """
    ).fetchall()
    assert waiting == []
    assert unsound(db) == []


# Housekeeping and the outbox


def test_housekeepers_at_once_and_writers_close_every_expired_hold_once(
    connect: Connect, db: Connection
) -> None:
    db.execute(WITNESSES)
    with_holds(db, "pgledger.hold(account, 60, 'h', clock_timestamp() + interval '1 hour')")
    for_each_account(db, ROUNDS, "witness.expire(account)")

    def calls(n: int) -> list[Call]:
        run: LiteralString = "select pgledger.run_due(1)"
        return [(run, ()), (run, ()), (SPEND, (f"r{n}", 70)), (RELEASE, (f"r{n}",))]

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return [o.word for o in round_] == ["ok", "ok", "ok", "LG007"]

    assert wrong_rounds(connect, calls, is_right) == []
    assert events(db) == of_every_account("hold_expired")
    assert held(db) == {0}
    assert set(balances(db).values()) == {30}
    assert unsound(db) == []


def test_events_claimed_at_once_are_handed_out_once_and_in_order(
    connect: Connect, db: Connection
) -> None:
    db.execute(WITNESSES)
    # So few accounts that a claim has to leave what comes after an event somebody works on.
    accounts, each = 5, 40
    for _ in range(each):
        db.execute(
            "select pgledger.grant_credits('r' || n, 1) from generate_series(1, %s) n", (accounts,)
        )
        for status in ("FROZEN", "OPEN"):
            db.execute(
                "select pgledger.set_account_status('r' || n, %s) from generate_series(1, %s) n",
                (status, accounts),
            )

    claim: LiteralString = "select from witness.claim(%s)"
    ack: LiteralString = "select from witness.ack(%s)"

    def calls(n: int) -> list[Call]:
        # Each worker claims and acknowledges in turn, two of them claim at a time.
        return [((claim, ack)[(n + worker) % 2], (worker,)) for worker in range(4)]

    assert wrong_rounds(connect, calls, lambda _, r: words(r) == {"ok": 4}) == []
    # Whatever the race left over comes now, if not already: nothing is lost either.
    for _ in range(accounts * each):
        for statement in (ack, claim):
            for worker in range(4):
                db.execute(statement, (worker,))
        if not db.execute("select from pgledger.events where acked_at is null").fetchall():
            break
    handed_out = db.execute("select * from witness.handed_out order by place").fetchall()
    assert [row for row in handed_out if row["early"]] == []
    per_account: dict[str, list[int]] = {row["account_id"]: [] for row in handed_out}
    for row in handed_out:
        per_account[row["account_id"]].append(row["seq"])
    assert per_account == {f"r{n}": list(range(1, each + 1)) for n in range(1, accounts + 1)}
    assert unsound(db) == []

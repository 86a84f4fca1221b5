"""What happens besides calls: other systems, what can happen to a database, and readers."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.callers import Callers
from tests.machine_records import shown, without_time
from tests.model_records import HIGHEST, now
from tests.strategies import ACCOUNTS, AMOUNTS, EXTERNAL_IDS, KEYS, MAYBE_KEYS, TYPES


class TheWorld(Callers):
    # What happens to a database

    @rule(account=ACCOUNTS)
    def lose_the_balance_row(self, account: str) -> None:
        self.lose_the_balance_row_of(account)

    @rule(account=ACCOUNTS, amount=st.integers(1, 60), key=MAYBE_KEYS, external_id=EXTERNAL_IDS)
    def import_history(
        self, account: str, amount: int, key: str | None, external_id: str | None
    ) -> None:
        known = self.accounts[account]
        records = [*known.posted, *known.announced.values()]
        if (
            known.status == "CLOSED"
            or known.balance + amount > HIGHEST
            or any(
                (key is not None and key == record.key)
                or (external_id is not None and external_id == record.external_id)
                for record in records
            )
        ):
            return
        if known.opened:
            self.lose_the_balance_row_of(account)
        known.now = now()
        movement = known.import_movement(amount=amount, key=key, external_id=external_id)
        self.db.execute(
            """
            insert into pgledger.transactions
              (account_id, seq, amount, running_balance, created_at, type, key, external_id)
            values (%s, %s, %s, %s, %s, 'TOP_UP', %s, %s)
            """,
            (
                self.account_id(account),
                movement.seq,
                amount,
                movement.running_balance,
                movement.at,
                key,
                external_id,
            ),
        )
        self.require_account(account)

    # The readers, one rule for all of them

    @rule(account=ACCOUNTS, data=st.data())
    def somebody_reads(self, account: str, data: st.DataObject) -> None:
        readers = [self.check_credits, self.get_transaction, self.history, self.expiring]
        readers += [self.explain_balance]
        if self.accounts[account].posted:
            readers += [self.balance_at, self.explain_transaction]
        data.draw(st.sampled_from(readers))(account, data)

    def check_credits(self, account: str, data: st.DataObject) -> None:
        required = data.draw(AMOUNTS)
        found = self.read(
            "select pgledger.check_credits(%(id)s, %(n)s) as covered", account, n=required
        )
        assert found == [{"covered": self.seen(account).covers(required)}]

    def get_transaction(self, account: str, data: st.DataObject) -> None:
        key = data.draw(KEYS | st.sampled_from(["#1", "#2", "#7", "#0", "#01"]))
        self.require_transaction(account, key)

    def require_transaction(self, account: str, key: str) -> None:
        found = self.read(
            "select * from pgledger.get_transaction(%(id)s, %(key)s)", account, key=key
        )
        movement = self.accounts[account].find(key)
        expected = [] if movement is None else [shown(self.account_id(account), movement, now())]
        assert without_time(found) == expected

    def history(self, account: str, data: st.DataObject) -> None:
        limit = data.draw(st.sampled_from([1, 2, 100]))
        before, type_ = data.draw(st.none() | st.integers(0, 9)), data.draw(st.none() | TYPES)
        found = self.read(
            "select * from pgledger.history(%(id)s, %(limit)s, %(before)s, "
            "%(type)s::pgledger.transaction_type)",
            account,
            limit=limit,
            before=before,
            type=type_,
        )
        expected = [
            shown(self.account_id(account), movement, movement.at)
            for movement in reversed(self.accounts[account].posted)
            if (before is None or (movement.seq or 0) < before) and type_ in {None, movement.type}
        ]
        assert without_time(found) == expected[:limit]

    def expiring(self, account: str, data: st.DataObject) -> None:
        within = data.draw(st.sampled_from([timedelta(hours=5), timedelta(days=30)]))
        found = self.read(
            "select expires_at, lot, key, amount, held, priority "
            "from pgledger.expiring(%(id)s, %(within)s)",
            account,
            within=within,
        )
        known = len(self.accounts[account].posted)
        expected = self.seen(account).expiring(within, known)
        assert [tuple(row.values()) for row in found] == expected

    def balance_at(self, account: str, data: st.DataObject) -> None:
        seen = self.seen(account)
        at = data.draw(st.sampled_from(sorted({m.at for m in seen.posted})))
        at += timedelta(microseconds=data.draw(st.sampled_from([0, 0, 1, -1])))
        found = self.read("select pgledger.balance_at(%(id)s, %(at)s)", account, at=at)
        assert found == [{"balance_at": seen.balance_at(at)}]

    def explain_transaction(self, account: str, data: st.DataObject) -> None:
        known = self.accounts[account]
        one = data.draw(st.sampled_from([*known.posted, *known.announced.values()]))
        found = self.read(
            "select lot, amount from pgledger.explain_transaction(%(id)s, %(key)s)",
            account,
            key=one.known_as,
        )
        if one.is_posted_debit or one.is_open_hold_at(now()):
            assert [(row["lot"], row["amount"]) for row in found] == one.parts

    def explain_balance(self, account: str, data: st.DataObject) -> None:
        del data
        found = self.read("select item, lot, amount from pgledger.explain_balance(%(id)s)", account)
        known = len(self.accounts[account].posted)
        expected = self.seen(account).explained(known)
        assert [tuple(row.values()) for row in found] == expected

    def teardown(self) -> None:
        try:
            for name, account in self.accounts.items():
                for key in account.announced:
                    self.require_transaction(name, key)
                self.require_account(name)
                self.require_sound(name)
        finally:
            # Nothing is left that would be due in the next example.
            while self.db.execute("select pgledger.run_due() as n").fetchall() != [{"n": 0}]:
                pass

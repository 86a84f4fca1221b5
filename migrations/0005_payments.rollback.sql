-- The ledger only goes forward: what has been posted stays. Only an empty ledger is rolled back.
set local lock_timeout = '2s';
do $$
begin
  if pg_catalog.to_regclass('pgledger.transactions') is null then
    return;
  end if;
  lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;
  if exists (select from pgledger.transactions)
     or exists (select from pgledger.pending_transactions)
     or exists (select from pgledger.payment_events)
     or exists (select from pgledger.payments) then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = 'the ledger has movements or payments: 0005_payments is not rolled back',
      hint = 'The ledger only goes forward: write a new migration.';
  end if;
end
$$;

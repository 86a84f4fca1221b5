-- What people do with a ledger of this version, in its own words; migrated by every later one.
-- Refusals are asked for as rows, so that nothing here fails.
\o /dev/null

select pgledger.open_account('empty');
select pgledger.open_account('described', metadata => '{"name": "Ünal & Söhne"}');
select pgledger.open_account('overdraft', min_balance => -100);

-- Posted, with and without keys, and refused.
select pgledger.top_up('alice', 1000, 't1', reference => 'order-1', external_id => 'pi_1');
select pgledger.top_up('alice', 50);
select pgledger.spend('alice', 300, 's1', reference => 'chat-1', metadata => '{"model": "m"}');
select pgledger.spend('alice', 7);
select pgledger.spend('alice', 7, reference => 'chat-1');
select pgledger.spend('alice', 300, 's1');
select pgledger.spend('alice', 1000000, 's2', raise_refusals => false);
select pgledger.grant_credits('alice', 25, 'g1', metadata => '{"why": "welcome"}');
select pgledger.spend('overdraft', 60, 's1');
select pgledger.set_limits('overdraft', debt_floor => -500);
select pgledger.spend('overdraft', 200, 's2', shortfall => 'DEBT');
select pgledger.top_up('capped', 90, 't1', ceiling_balance => 100);
select pgledger.top_up('capped', 90, 't2', ceiling_balance => 100);
select pgledger.spend('capped', 500, 's1', shortfall => 'PARTIAL');

-- Announced, then paid, paid with another amount, given up, paid after all, or still open.
select pgledger.top_up('bob', 100, 'p1', is_active => false);
select pgledger.enable_transaction('bob', 'p1', external_id => 'pi_2');
select pgledger.top_up('bob', 100, 'p2', is_active => false);
select pgledger.enable_transaction('bob', 'p2', amount => 80, metadata => '{"fee": 20}');
select pgledger.top_up('bob', 100, 'p3', is_active => false);
select pgledger.cancel_transaction('bob', 'p3', reason => 'the card was declined');
select pgledger.top_up('bob', 100, 'p4', is_active => false);
select pgledger.cancel_transaction('bob', 'p4');
select pgledger.enable_transaction('bob', 'p4', external_id => 'pi_3');
select pgledger.top_up('bob', 100, 'p5', is_active => false, reference => 'order-2');
select pgledger.top_up('bob', 100, is_active => false);

-- Frozen with credits in it, and closed.
select pgledger.top_up('frozen', 40, 't1');
select pgledger.set_account_status('frozen', 'FROZEN');
select pgledger.open_account('closed');
select pgledger.set_account_status('closed', 'CLOSED');

-- Brought in from another system: a journal without a balance row, never touched and touched.
insert into pgledger.accounts (account_id) values ('imported'), ('imported_and_used');
insert into pgledger.transactions
  (account_id, seq, amount, running_balance, created_at, type, key)
values
  ('imported', 1, 500, 500, '2020-01-01 00:00+00', 'TOP_UP', 'old-1'),
  ('imported', 2, -120, 380, '2020-01-02 00:00+00', 'USAGE', null),
  ('imported_and_used', 1, 70, 70, '2020-01-01 00:00+00', 'GRANT', null);
select pgledger.spend('imported_and_used', 30, 's1');

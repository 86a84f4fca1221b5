-- What people do with a ledger of this version, in its own words; migrated by every later one.
-- Refusals are asked for as rows, so that nothing here fails.
\o /dev/null

-- Granted with conditions: a trial, a promotion that goes first, a reserve that goes last, a debt
-- that is paid first, a payment that brings a lot when it is made.
select pgledger.grant_credits('trial', 100, 'g1', expires_at => '2999-01-01 00:00+00');
select pgledger.grant_credits('trial', 50, 'g2', priority => -1, metadata => '{"why": "launch"}');
select pgledger.top_up('trial', 200, 't1');
select pgledger.grant_credits('trial', 30, 'g3', priority => 5);
select pgledger.spend('trial', 20, 's1');
select pgledger.spend('trial', 180, 's2');
select pgledger.set_limits('debtor', -100) from pgledger.open_account('debtor');
select pgledger.spend('debtor', 60, 's1');
select pgledger.grant_credits('debtor', 100, 'g1', expires_at => '2999-01-01 00:00+00');
select pgledger.top_up(
  'debtor', 40, 't1', is_active => false, expires_at => '2999-01-01 00:00+00', priority => 2);
select pgledger.enable_transaction('debtor', 't1', external_id => 'pi_l1');

-- Held in one lot, in several, captured in part, released, reversed, refunded, revoked.
select pgledger.hold('trial', 10, 'h1', expires_at => '2999-01-01 00:00+00');
select pgledger.hold('trial', 140, 'h2');
select pgledger.hold('debtor', 20, 'h1');
select pgledger.capture('debtor', 'h1', 5);
select pgledger.reverse_transaction('trial', 's2', 160, 'v1');
select pgledger.refund('debtor', 't1', 10, 'r1');
select pgledger.hold('trial', 5, 'h3');
select pgledger.release('trial', 'h3');
select pgledger.grant_credits('revoked', 10, 'g1', priority => 1);
select pgledger.spend('revoked', 4, 's1');
select pgledger.revoke_lot('revoked', 'g1', 'a mistake');

-- Expired and posted; expired and still to be posted, with a hold over it.
select pgledger.grant_credits('ended', 10, 'g1', expires_at => '2999-01-01 00:00+00');
update pgledger.lots
set expires_at = clock_timestamp(), granted_expires_at = clock_timestamp()
where account_id = 'ended';
update pgledger.balances
set attention_at = (select min(l.expires_at) from pgledger.lots l where l.account_id = 'ended')
where account_id = 'ended';
select pgledger.top_up('ended', 5, 't1');
select pgledger.grant_credits('ended', 20, 'g2', expires_at => '2999-01-01 00:00+00');
select pgledger.hold('ended', 8, 'h1');
update pgledger.lots
set expires_at = clock_timestamp(), granted_expires_at = clock_timestamp()
where account_id = 'ended' and seq > 2;
update pgledger.balances
set attention_at = (select min(l.expires_at) from pgledger.lots l where l.account_id = 'ended')
where account_id = 'ended';

-- On plans, with a change that waits, and under a cap.
select pgledger.create_plan('free', 50, '1 month', 'RESET');
select pgledger.create_plan('pro', 500, '1 month', 'ADD', 'ACCOUNT', 'Europe/Berlin');
select pgledger.create_plan('fill', 100, '1 day', 'TOP_UP_TO');
select pgledger.assign_plan('planned', 'free') from pgledger.open_account('planned');
select pgledger.spend('planned', 20, 's1');
select pgledger.assign_plan('planned', 'pro');
select pgledger.assign_plan('filled', 'fill') from pgledger.open_account('filled');
select pgledger.set_spending_cap('filled', 80, '1 month');
select pgledger.spend('filled', 70, 's1');
select pgledger.spend('filled', 20, 's2', raise_refusals => false);
select pgledger.reverse_transaction('filled', 's1', 30, 'v1');

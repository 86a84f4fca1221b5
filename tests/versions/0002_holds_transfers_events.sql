-- What people do with a ledger of this version, in its own words; migrated by every later one.
-- Refusals are asked for as rows, so that nothing here fails.
\o /dev/null

-- Held: open, captured in part, released, expired and closed, expired and still to be closed.
select pgledger.top_up('holder', 1000, 't1');
select pgledger.hold('holder', 100, 'h1', reference => 'chat-1');
select pgledger.hold('holder', 100, 'h2', expires_at => '2999-01-01 00:00+00');
select pgledger.capture('holder', 'h2', 60, metadata => '{"tokens": 12}');
select pgledger.hold('holder', 100, 'h3');
select pgledger.release('holder', 'h3', 'the user went away');
select pgledger.hold('holder', 100, 'h4', expires_at => '2999-01-01 00:00+00');
update pgledger.pending_transactions
set expires_at = clock_timestamp() where account_id = 'holder' and key = 'h4';
update pgledger.balances set attention_at = clock_timestamp() where account_id = 'holder';
select pgledger.spend('holder', 1);
select pgledger.hold('holder', 100, 'h5', expires_at => '2999-01-01 00:00+00');
update pgledger.pending_transactions
set expires_at = clock_timestamp() where account_id = 'holder' and key = 'h5';
update pgledger.balances set attention_at = clock_timestamp() where account_id = 'holder';
select pgledger.hold('holder', 5000, 'h6', raise_refusals => false);

-- Refunded and reversed, in part and more than there is, and a chargeback that leaves a debt.
select pgledger.top_up('payer', 500, 't1', external_id => 'pi_1');
select pgledger.spend('payer', 200, 's1');
select pgledger.refund('payer', 't1', 100, 'r1', external_id => 're_1');
select pgledger.reverse_transaction('payer', 's1', 50, 'v1');
select pgledger.reverse_transaction('payer', 's1', 500, 'v2', raise_refusals => false);
select pgledger.refund(
  'payer', 't1', key => 'r2', external_id => 'dp_1', fail_insufficient_credits => false);

-- Transferred.
select pgledger.open_account('receiver');
select pgledger.transfer('holder', 'receiver', 30, 'x1', reference => 'gift');
select pgledger.transfer('receiver', 'holder', 10);

-- Topped up by themselves: asked for, paid, at a limit, at once.
select pgledger.top_up('auto', 100, 't1');
select pgledger.set_auto_top_up('auto', 50, 100, monthly_count_limit => 2);
select pgledger.spend('auto', 80, 's1', reference => 'chat-2');
select pgledger.enable_transaction('auto', '#auto-1', external_id => 'pi_9');
select pgledger.spend('auto', 80, 's2');
select pgledger.top_up('limited', 100, 't1');
select pgledger.set_auto_top_up('limited', 90, 5, 'INSTANT', daily_amount_limit => 5);
select pgledger.spend('limited', 30, 's1');
select pgledger.spend('limited', 30, 's2');
select pgledger.set_low_balance_level('limited', 20);
select pgledger.spend('limited', 30, 's3');

-- Told: claimed, acknowledged, waiting.
select pgledger.claim_events(2);
select pgledger.ack_events(array['auto'], array[1]);
select pgledger.set_account_status('payer', 'FROZEN');

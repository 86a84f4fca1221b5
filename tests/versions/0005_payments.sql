-- What people do with a ledger of this version, in its own words; migrated by every later one.
-- Refusals are asked for as rows, so that nothing here fails.
\o /dev/null

-- Who is who: linked, opened, moved, unlinked.
select pgledger.open_account('payer');
select pgledger.link_identifier('payer', 'Payer@Example.com', actor => 'clerk');
select pgledger.link_identifier('payer', 'cus_payer');
select pgledger.resolve_account('payer@example.com');
select pgledger.resolve_account('123e4567-e89b-42d3-a456-426614174000', open => true);
select pgledger.resolve_account('42', open => true, account_id => 'numbered');
select pgledger.link_identifier('numbered', 'payer@example.com', move => true, actor => 'clerk');
select pgledger.unlink_identifier('42', actor => 'clerk');

-- Bought within limits, paid, paid in part by events, failed, never paid.
select pgledger.set_top_up_limits(null, 10, 10, 100000, 100, 1000000, actor => 'clerk');
select pgledger.set_top_up_limits('payer', 5, 5, 50000);
select pgledger.create_top_up('payer', 1000, 'o1', 1000, 'usd');
select pgledger.create_top_up('payer', 500, 'o2', 500, 'usd', expires_at => '2999-01-01 00:00+00');
select pgledger.create_top_up('payer', 300, 'o3', 300, 'usd');
select pgledger.create_top_up('payer', 200, 'o4', 200, 'usd');
select pgledger.record_payment(
  'stripe', 'pi_1', 'SUCCEEDED', 'payer', 'o1', 1000, 1000, 'usd', customer => 'cus_payer');
select pgledger.record_payment('stripe', 'pi_2', 'PROCESSING', 'payer', 'o2', 500, 500, 'usd');
select pgledger.record_payment('stripe', 'pi_2', 'SUCCEEDED', 'payer', 'o2', 500, 500, 'usd');
select pgledger.record_payment('stripe', 'pi_3', 'FAILED', 'payer', 'o3', reason => 'declined');
select pgledger.record_payment('stripe', 'pi_stray', 'SUCCEEDED', paid => 700, currency => 'usd');
select pgledger.record_payment('stripe', 'pi_lost', 'SUCCEEDED', paid => 800, currency => 'usd');
select pgledger.match_payment('stripe', 'pi_lost', 'payer', 800, actor => 'clerk');
select pgledger.record_card_check(
  'stripe', 'seti_1', 'payer', amount => 5, customer => 'cus_payer', payment_method => 'pm_1');

-- Events: processed, ignored, failed, only received.
select pgledger.record_payment_event('stripe', e, 'payment', '{"id": "' || e || '"}')
from unnest(array['evt_1', 'evt_2', 'evt_3', 'evt_4']) e;
select pgledger.process_payment_event('stripe', 'evt_1', '[{"record": "payment",
  "payment_id": "pi_5", "status": "SUCCEEDED", "account_id": "payer",
  "amount": 50, "paid": 50, "currency": "usd"}]');
select pgledger.process_payment_event('stripe', 'evt_2', '[]');
select pgledger.process_payment_event('stripe', 'evt_3', '[{"record": "nothing"}]');

-- Gone back: refunds in part and whole, told as a sum, failed, before their payment; disputes.
select pgledger.record_payment_refund('stripe', 're_1', 'pi_1', 300, 'SUCCEEDED');
select pgledger.record_payment_refund('stripe', 're_2', 'pi_1', 100, 'SUCCEEDED');
select pgledger.record_payment_refund('stripe', 're_2', 'pi_1', 100, 'FAILED');
select pgledger.record_payment('stripe', 'pi_2', 'SUCCEEDED', refunded => 200);
select pgledger.record_payment_refund('stripe', 're_3', 'pi_9', 100, 'PENDING');
select pgledger.record_payment('stripe', 'pi_9', 'SUCCEEDED', 'other', null, 100, 100, 'usd');
select pgledger.record_payment('stripe', 'pi_8', 'SUCCEEDED', 'other', null, 400, 400, 'usd');
select pgledger.record_dispute('stripe', 'dp_1', 'pi_8', 400, 'OPEN', 'FREEZE');
select pgledger.record_dispute('stripe', 'dp_1', 'pi_8', 400, 'LOST', 'FREEZE');
select pgledger.record_dispute('stripe', 'dp_2', 'pi_1', 200, 'OPEN', 'DEDUCT');
select pgledger.record_dispute('stripe', 'dp_2', 'pi_1', 200, 'WON', 'DEDUCT');
select pgledger.record_dispute('stripe', 'dp_3', 'pi_stray', 700, 'OPEN', 'FLAG');

-- Asked back: waiting, approved by policy, by a clerk, made, rejected.
select pgledger.top_up('asker', n * 100, 't' || n) from generate_series(1, 4) n;
select pgledger.request_refund('asker', 't1', 50, 'r1', 'mistake', actor => 'asker');
select pgledger.request_refund('asker', 't2', 20, 'r2', tolerance => 0);
select pgledger.request_refund('asker', 't3', key => 'r3');
select pgledger.reject_refund('asker', 'r3', 'too late', 'clerk');
select pgledger.request_refund('payer', 'o1', 100, 'r4');
select pgledger.approve_refund('payer', 'r4', 'fair', 'clerk');
select pgledger.claim_refunds();
select pgledger.record_payment_refund('stripe', 're_4', 'pi_1', 100, 'SUCCEEDED', 'r4', 'payer');

-- Topped up by themselves: waiting, claimed and declined, put off, given up, paid.
select pgledger.top_up(a, 150, 't1') from unnest(array['w1', 'w2', 'w3', 'w4', 'w5']) a;
select pgledger.set_auto_top_up(a, 100, 500) from unnest(array['w1', 'w2', 'w3', 'w4', 'w5']) a;
select pgledger.spend(a, 100, 's1') from unnest(array['w2', 'w3', 'w4', 'w5']) a;
select pgledger.claim_top_ups();
select pgledger.decline_top_up('w2', '#auto-1', 0, 'card_declined', 'stripe', 'pi_w2');
select pgledger.defer_top_up('w3', '#auto-1', 0, '1 hour', 'processing');
select pgledger.decline_top_up('w4', '#auto-1', 0, 'no card', give_up => true);
select pgledger.record_payment('stripe', 'pi_w5', 'SUCCEEDED', 'w5', '#auto-1', 500, 500, 'usd');
select pgledger.spend('w1', 100, 's1');

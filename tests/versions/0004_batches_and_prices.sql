-- What people do with a ledger of this version, in its own words; migrated by every later one.
-- Refusals are asked for as rows, so that nothing here fails.
\o /dev/null

-- Prices: in force, changed since, to come, ended, in each rounding.
select pgledger.set_price(
  'model', '{"input_token": 0.0015, "output_token": 0.006}', metadata => '{"from": "the list"}');
select pgledger.set_price('model', '{"input_token": 0.002, "output_token": 0.008}');
select pgledger.set_price(
  'model', '{"input_token": 0.001}', 'FLOOR', valid_from => '2999-01-01 00:00+00');
select pgledger.set_price('image', '{"image": 2.5}', 'HALF_EVEN');
select pgledger.set_price('free', '{"request": 0}', 'FLOOR');
select pgledger.set_price('ended', '{"request": 1}');
select pgledger.set_price('ended', '{}');

-- Used: charged, for nothing, in part, on a debt, replayed, refused.
select pgledger.top_up('user', 1000, 't1');
select pgledger.grant_credits('user', 100, 'g1', expires_at => '2999-01-01 00:00+00');
select pgledger.spend_usage(
  'user', 'model', '{"input_token": 1200, "output_token": 350}', 'u1', reference => 'chat');
select pgledger.spend_usage('user', 'image', '{"image": 3}', 'u2', metadata => '{"why": "test"}');
select pgledger.spend_usage('user', 'free', '{"request": 1}', 'u3');
select pgledger.spend_usage('user', 'free', '{"request": 1}', 'u3');
select pgledger.spend_usage('user', 'ended', '{"request": 1}', 'u4', raise_refusals => false);
select pgledger.spend_usage('user', 'image', '{"image": 1000}', 'u5', shortfall => 'PARTIAL');
select pgledger.set_limits('debtor', -10, -100) from pgledger.open_account('debtor');
select pgledger.spend_usage('debtor', 'image', '{"image": 20}', 'u1', shortfall => 'DEBT');

-- Held by an estimate: captured below it, above it, for nothing, whole, released, still open.
select pgledger.top_up('stream', 500, 't1');
select pgledger.hold_usage('stream', 'image', '{"image": 10}', 'h1');
select pgledger.capture_usage('stream', 'h1', '{"image": 4}');
select pgledger.hold_usage('stream', 'image', '{"image": 10}', 'h2', reference => 'answer');
select pgledger.capture_usage('stream', 'h2', '{"image": 14}');
select pgledger.hold_usage('stream', 'image', '{"image": 10}', 'h3');
select pgledger.capture_usage('stream', 'h3', '{"image": 0}');
select pgledger.hold_usage('stream', 'image', '{"image": 10}', 'h4');
select pgledger.capture('stream', 'h4');
select pgledger.hold_usage('stream', 'image', '{"image": 10}', 'h5');
select pgledger.release('stream', 'h5');
select pgledger.hold_usage(
  'stream', 'image', '{"image": 10}', 'h6', expires_at => '2999-01-01 00:00+00');

-- Posted together, and what of a batch goes one by one: a new account, a lot, a repeat, a refusal,
-- a misuse, usage.
select pgledger.post_batch(
  account_ids => array['user', 'stream', 'new', 'new', 'user', 'stream', 'lots', 'user', 'none', ''],
  amounts => array[50, -1, 20, -5, null, -2, 30, 50, -1, -1],
  types => array['TOP_UP', 'USAGE', 'TOP_UP', 'USAGE', 'USAGE', 'USAGE', 'GRANT', 'TOP_UP',
    'USAGE', 'USAGE']::pgledger.transaction_type[],
  keys => array['b1', 'b1', 'b1', 'b2', 'b2', null, 'b1', 'b1', null, null],
  expires_at => array[null, null, null, null, null, null, timestamptz '2999-01-01 00:00+00', null,
    null, null],
  codes => array[null, null, null, null, 'image', null, null, null, null, null],
  quantities => array[null, null, null, null, jsonb '{"image": 1}', null, null, null, null, null]);
select pgledger.post_batch_json(
  '[{"account_id": "new", "amount": -1, "type": "USAGE", "key": "b3"}]', atomic => true);

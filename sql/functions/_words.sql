create or replace function pgledger._words(code text, out message text, out hint text)
language plpgsql immutable parallel safe
as $$
#variable_conflict use_column
begin
  select w.message, w.hint into strict message, hint
  from (values
    ('LG001', 'insufficient credits', 'Top up, spend less, or spend what is there with PARTIAL.'),
    ('LG002', 'idempotency conflict', 'A retry must repeat its call; a new movement needs a new '
      'key and external_id. To make an announced movement effective, enable it.'),
    ('LG003', 'account not found', 'Open the account first, or check its id.'),
    ('LG004', 'account not open', 'See set_account_status.'),
    ('LG005', 'ceiling reached', 'Spend first, or raise ceiling_balance.'),
    ('LG006', 'transaction not found', 'Check the account and the key.'),
    ('LG007', 'transaction not pending', 'It was settled before, or has expired: see its status. '
      'Only money that came late is still enabled, with its external_id.'),
    ('LG008', 'spending cap reached', 'Wait until the cap resets, or raise it: see '
      'set_spending_cap.'),
    ('LG009', 'exceeds original', 'At most what remains of it can be captured, refunded or '
      'reversed.'),
    ('LG011', 'price not found', 'Set the price with set_price, or check the code, the unit and '
      'the instant.'),
    ('LG012', 'top-up limit reached', 'Choose another amount, wait until the limit resets, or '
      'change it: see set_top_up_limits.'),
    ('22003', 'cost out of range', 'A cost is a bigint, at most 2^63 - 1 minor units: check the '
      'quantities and the prices.')
  ) w (code, message, hint)
  where w.code = _words.code;
end;
$$;

comment on function pgledger._words(text) is
  'What a refusal says: its message and its hint. Private.';

revoke all on function pgledger._words(text) from public;

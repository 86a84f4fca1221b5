-- CREATE TYPE knows no IF NOT EXISTS, and this file must be safe to run again.
do $$
begin
  if to_regtype('pgledger.transaction_type') is null then
    create type pgledger.transaction_type as enum (
      'TOP_UP', 'USAGE', 'GRANT', 'REFUND', 'CARD_CHECK',
      'EXPIRY', 'TRANSFER', 'REVERSAL', 'ADJUSTMENT'
    );
  end if;

  if to_regtype('pgledger.account_status') is null then
    create type pgledger.account_status as enum ('OPEN', 'FROZEN', 'CLOSED');
  end if;

  if to_regtype('pgledger.pending_status') is null then
    create type pgledger.pending_status as enum ('PENDING', 'ENABLED', 'CANCELLED', 'EXPIRED');
  end if;

  if to_regtype('pgledger.auto_top_up_mode') is null then
    create type pgledger.auto_top_up_mode as enum ('INTENT', 'INSTANT');
  end if;

  if to_regtype('pgledger.refill_policy') is null then
    create type pgledger.refill_policy as enum ('ADD', 'TOP_UP_TO', 'RESET');
  end if;

  if to_regtype('pgledger.plan_anchor') is null then
    create type pgledger.plan_anchor as enum ('CALENDAR', 'ACCOUNT');
  end if;

  if to_regtype('pgledger.price_rounding') is null then
    create type pgledger.price_rounding as enum ('CEIL', 'FLOOR', 'HALF_EVEN');
  end if;

  if to_regtype('pgledger.payment_event_status') is null then
    create type pgledger.payment_event_status as enum (
      'RECEIVED', 'PROCESSED', 'IGNORED', 'FAILED'
    );
  end if;

  if to_regtype('pgledger.payment_status') is null then
    create type pgledger.payment_status as enum ('PROCESSING', 'FAILED', 'SUCCEEDED');
  end if;

  if to_regtype('pgledger.return_kind') is null then
    create type pgledger.return_kind as enum ('REFUND', 'DISPUTE');
  end if;

  if to_regtype('pgledger.return_status') is null then
    create type pgledger.return_status as enum (
      'PENDING', 'SUCCEEDED', 'FAILED', 'OPEN', 'LOST', 'WON'
    );
  end if;

  if to_regtype('pgledger.dispute_policy') is null then
    create type pgledger.dispute_policy as enum ('FLAG', 'FREEZE', 'DEDUCT');
  end if;

  if to_regtype('pgledger.refund_request_status') is null then
    create type pgledger.refund_request_status as enum ('PENDING', 'APPROVED', 'REJECTED');
  end if;

  if to_regtype('pgledger.identifier_kind') is null then
    create type pgledger.identifier_kind as enum (
      'EMAIL', 'UUID', 'INTEGER', 'CUSTOMER', 'PAYMENT_METHOD'
    );
  end if;

  if to_regtype('pgledger.resolved_account') is null then
    create type pgledger.resolved_account as (
      account_id text,
      kind pgledger.identifier_kind,
      value text,
      opened boolean
    );
  end if;

  if to_regtype('pgledger.posting') is null then
    create type pgledger.posting as (
      account_id text,
      key text,
      seq bigint,
      type pgledger.transaction_type,
      amount bigint,
      requested_amount bigint,
      running_balance bigint,
      balance bigint,
      available bigint,
      status text,
      replayed boolean,
      refusal text,
      created_at timestamptz,
      error jsonb
    );
  end if;

  if to_regtype('pgledger.transaction') is null then
    create type pgledger.transaction as (
      account_id text,
      key text,
      seq bigint,
      type pgledger.transaction_type,
      amount bigint,
      requested_amount bigint,
      running_balance bigint,
      status text,
      reference text,
      external_id text,
      metadata jsonb,
      created_at timestamptz,
      expires_at timestamptz,
      original_seq bigint,
      counterparty text,
      usage jsonb
    );
  end if;

  if to_regtype('pgledger.price_list') is null then
    create type pgledger.price_list as (
      code text,
      valid_from timestamptz,
      rounding pgledger.price_rounding,
      prices jsonb,
      metadata jsonb,
      changed boolean
    );
  end if;

  if to_regtype('pgledger.unit_price') is null then
    create type pgledger.unit_price as (
      code text,
      valid_from timestamptz,
      valid_until timestamptz,
      rounding pgledger.price_rounding,
      unit text,
      credits_per_unit numeric,
      metadata jsonb
    );
  end if;

  if to_regtype('pgledger.usage_price') is null then
    create type pgledger.usage_price as (
      code text,
      valid_from timestamptz,
      rounding pgledger.price_rounding,
      cost bigint,
      exact numeric,
      breakdown jsonb
    );
  end if;

  if to_regtype('pgledger.payment_event') is null then
    create type pgledger.payment_event as (
      provider text,
      event_id text,
      type text,
      status pgledger.payment_event_status,
      attempts bigint,
      error jsonb,
      result jsonb,
      occurred_at timestamptz,
      received_at timestamptz,
      processed_at timestamptz,
      is_new boolean
    );
  end if;

  if to_regtype('pgledger.payment') is null then
    create type pgledger.payment as (
      provider text,
      payment_id text,
      status pgledger.payment_status,
      account_id text,
      key text,
      amount bigint,
      paid bigint,
      paid_currency text,
      refunded bigint,
      disputed bigint,
      taken bigint,
      reason text,
      seq bigint,
      created_at timestamptz,
      updated_at timestamptz
    );
  end if;

  if to_regtype('pgledger.payment_return') is null then
    create type pgledger.payment_return as (
      provider text,
      return_id text,
      payment_id text,
      kind pgledger.return_kind,
      amount bigint,
      currency text,
      status pgledger.return_status,
      policy pgledger.dispute_policy,
      request_key text,
      account_id text,
      taken bigint,
      occurred_at timestamptz,
      created_at timestamptz,
      updated_at timestamptz
    );
  end if;

  if to_regtype('pgledger.card_check') is null then
    create type pgledger.card_check as (
      account_id text,
      key text,
      seq bigint,
      amount bigint,
      balance bigint,
      replayed boolean
    );
  end if;

  if to_regtype('pgledger.charge') is null then
    create type pgledger.charge as (
      account_id text,
      key text,
      amount bigint,
      status text,
      replayed boolean,
      reference text,
      price bigint,
      price_currency text,
      attempt bigint,
      claims bigint,
      idempotency_key text,
      customer text,
      payment_method text,
      due_at timestamptz,
      created_at timestamptz,
      is_wanted boolean
    );
  end if;

  if to_regtype('pgledger.refund_order') is null then
    create type pgledger.refund_order as (
      account_id text,
      key text,
      amount bigint,
      provider text,
      payment_id text,
      money bigint,
      money_currency text,
      claims bigint,
      idempotency_key text
    );
  end if;

  if to_regtype('pgledger._request') is null then
    create type pgledger._request as (
      account_id text,
      amount bigint,
      type pgledger.transaction_type,
      key text,
      announced boolean,
      ceiling_balance bigint,
      shortfall text,
      reference text,
      external_id text,
      metadata jsonb,
      raise_refusals boolean,
      expires_at timestamptz,
      original_seq bigint,
      counterparty text,
      counterparty_seq bigint,
      released bigint,
      credits_expire_at timestamptz,
      priority integer,
      extend interval,
      usage jsonb
    );
  end if;

  if to_regtype('pgledger._item') is null then
    create type pgledger._item as (
      item bigint,
      account_id text,
      amount bigint,
      type pgledger.transaction_type,
      key text,
      reference text,
      metadata jsonb,
      usage jsonb,
      nth bigint,
      so_far bigint,
      total bigint,
      is_last boolean,
      is_usage boolean,
      is_plain boolean
    );
  end if;

  if to_regtype('pgledger._sources') is null then
    create type pgledger._sources as (
      lots bigint[],
      amounts bigint[],
      from_pool bigint,
      unreserved bigint,
      attention_at timestamptz
    );
  end if;

  if to_regtype('pgledger._movement') is null then
    create type pgledger._movement as (
      due_at timestamptz,
      lot bigint,
      key text,
      amount bigint,
      policy pgledger.refill_policy,
      expires_at timestamptz,
      metadata jsonb,
      to_lot bigint
    );
  end if;
end;
$$;

comment on type pgledger.transaction_type is
  'What a movement is for. The sign of its amount, not its type, says which way the credits went.';
comment on type pgledger.account_status is
  'OPEN; FROZEN refuses debits that ask; CLOSED refuses everything and is empty.';
comment on type pgledger.pending_status is
  'A pending transaction waits as PENDING and leaves it once, as ENABLED, CANCELLED or EXPIRED; '
  'money that arrives late, with its external_id, can still enable the last two.';

comment on type pgledger.auto_top_up_mode is
  'INTENT records a pending top-up for somebody to collect; INSTANT posts it, for accounts that '
  'need no payment.';

comment on type pgledger.refill_policy is
  'ADD grants the amount each period; TOP_UP_TO fills the balance up to it; RESET grants it as a '
  'lot that expires with its period.';

comment on type pgledger.plan_anchor is
  'CALENDAR: periods begin with the day, week, month, quarter or year; ACCOUNT: where the account '
  'began the plan.';

comment on type pgledger.price_rounding is
  'How an exact cost becomes whole minor units: CEIL up, FLOOR down, HALF_EVEN to the nearest and '
  'a half to the even one.';

comment on type pgledger.posting is
  'What every posting function answers: one row, of this shape, whatever happened.';
comment on column pgledger.posting.key is
  'The idempotency key; #<seq> where the caller gave none; null when refused without a key.';
comment on column pgledger.posting.seq is
  'Place in the account''s journal: 1, 2, 3 and so on without a gap; null unless POSTED.';
comment on column pgledger.posting.amount is
  'Minor units, signed: what was applied, or what is announced; 0 when refused.';
comment on column pgledger.posting.requested_amount is
  'Minor units, signed: what was asked; differs from amount after a ceiling or a partial spend.';
comment on column pgledger.posting.running_balance is
  'The balance right after this transaction; on a replay that of the original; null unless POSTED.';
comment on column pgledger.posting.balance is 'The account''s balance now, after the call.';
comment on column pgledger.posting.available is
  'balance minus what holds reserve, now, after the call.';
comment on column pgledger.posting.status is
  'POSTED, PENDING, CANCELLED, EXPIRED, or REFUSED (only when refusals are not raised).';
comment on column pgledger.posting.replayed is
  'True when this key or external_id had its effect before and this call changed nothing.';
comment on column pgledger.posting.refusal is
  'The SQLSTATE of a refusal returned as a row, or null.';
comment on column pgledger.posting.created_at is
  'When the movement was posted or announced; null when refused.';

comment on column pgledger.posting.error is
  'Of a refusal returned as a row what would have been raised: message, detail (an object) and '
  'hint; else null.';

comment on type pgledger.transaction is
  'A recorded movement as get_transaction and history show it.';
comment on column pgledger.transaction.key is
  'The idempotency key, or #<seq> where the caller gave none.';
comment on column pgledger.transaction.amount is
  'Minor units, signed: what was applied, or what is announced.';
comment on column pgledger.transaction.requested_amount is
  'Minor units, signed: what was asked; differs from amount after a ceiling or a partial spend.';
comment on column pgledger.transaction.status is 'POSTED, PENDING, CANCELLED or EXPIRED.';
comment on column pgledger.transaction.expires_at is
  'From this instant on a hold reserves nothing; null where it does not expire.';
comment on column pgledger.transaction.original_seq is
  'The seq of the transaction that a refund or reversal undoes, or whose lot expired; else null.';
comment on column pgledger.transaction.counterparty is
  'The account on the other side of a transfer; else null.';

comment on column pgledger.transaction.usage is
  'What was used, at which price, where the amount was made of that; else null. See price.';

comment on type pgledger.price_list is
  'What a code costs from an instant on: the list in force after set_price.';
comment on column pgledger.price_list.valid_from is 'Since when it holds, or from when on.';
comment on column pgledger.price_list.rounding is 'How the sum over all units is rounded, once.';
comment on column pgledger.price_list.prices is
  'Credits per unit, minor units, exact; an empty object where the code is no longer sold.';
comment on column pgledger.price_list.changed is
  'False where these prices and this rounding were in force already, and nothing was written.';

comment on type pgledger.unit_price is
  'What one unit of a code costs, as list_prices shows it.';
comment on column pgledger.unit_price.valid_from is 'The instant from which on it holds.';
comment on column pgledger.unit_price.valid_until is
  'The instant from which on another list holds, or the code is no longer sold; else null.';
comment on column pgledger.unit_price.rounding is 'How the sum over all units is rounded, once.';
comment on column pgledger.unit_price.unit is 'What is counted.';
comment on column pgledger.unit_price.credits_per_unit is 'Minor units, exact.';

comment on type pgledger.usage_price is
  'What usage costs, and why.';
comment on column pgledger.usage_price.valid_from is 'Since when the price list holds.';
comment on column pgledger.usage_price.rounding is 'How exact was rounded to cost.';
comment on column pgledger.usage_price.cost is 'Whole minor units.';
comment on column pgledger.usage_price.exact is 'The sum over all units before it is rounded.';
comment on column pgledger.usage_price.breakdown is
  'By unit: quantity, credits_per_unit, and credits, their product; exact numbers.';

comment on type pgledger.payment_event_status is
  'RECEIVED is not processed yet; PROCESSED had its effect; IGNORED has none; FAILED had none, and '
  'may be processed again.';
comment on type pgledger.payment_status is
  'PROCESSING until the provider tells; FAILED may still be paid; SUCCEEDED is final.';
comment on type pgledger.return_kind is
  'A REFUND is given back by us; a DISPUTE is taken back by the payer''s bank.';
comment on type pgledger.return_status is
  'A refund is PENDING, SUCCEEDED or FAILED; a dispute is OPEN, LOST (the payer has the money) or '
  'WON.';
comment on type pgledger.dispute_policy is
  'What an open dispute does to its account: FLAG only tells, FREEZE freezes it, DEDUCT takes the '
  'credits at once. A lost one always takes them.';
comment on type pgledger.refund_request_status is
  'PENDING waits for a decision; APPROVED took the credits; REJECTED changed nothing.';
comment on type pgledger.identifier_kind is
  'What names an account elsewhere: an EMAIL, a UUID, an INTEGER of an application, the '
  'provider''s CUSTOMER and PAYMENT_METHOD.';

comment on type pgledger.resolved_account is
  'Whose an identifier is, as resolve_account answers it.';
comment on column pgledger.resolved_account.kind is 'What the identifier was taken for.';
comment on column pgledger.resolved_account.value is 'The identifier in its normal form.';
comment on column pgledger.resolved_account.opened is 'Whether this call opened the account.';

comment on type pgledger.payment_event is
  'An event of the provider as record_payment_event and process_payment_event answer it.';
comment on column pgledger.payment_event.event_id is 'The provider''s id of the event.';
comment on column pgledger.payment_event.attempts is 'How often it was processed.';
comment on column pgledger.payment_event.error is
  'Why the last attempt failed: sqlstate and message; else null.';
comment on column pgledger.payment_event.result is
  'What it did, one element per fact in it; null until it is PROCESSED.';
comment on column pgledger.payment_event.occurred_at is
  'When it happened, by the provider''s clock.';
comment on column pgledger.payment_event.received_at is 'When it came first.';
comment on column pgledger.payment_event.processed_at is 'When it was processed last.';
comment on column pgledger.payment_event.is_new is
  'Whether this call is the first to tell of it.';

comment on type pgledger.payment is
  'What is known of a payment, and what it did.';
comment on column pgledger.payment.payment_id is
  'The provider''s id of the payment; the external_id of its top-up.';
comment on column pgledger.payment.key is 'The key of the top-up.';
comment on column pgledger.payment.amount is 'The credits that were bought, minor units.';
comment on column pgledger.payment.paid is
  'What was paid, in the smallest unit of paid_currency.';
comment on column pgledger.payment.paid_currency is 'The currency of the money, such as usd.';
comment on column pgledger.payment.refunded is
  'What was refunded of it, in the smallest unit of paid_currency.';
comment on column pgledger.payment.disputed is
  'What is disputed, or was lost in a dispute, in the smallest unit of paid_currency.';
comment on column pgledger.payment.taken is
  'The credits that refunds and disputes have taken back, minor units.';
comment on column pgledger.payment.reason is
  'Why it failed, or why it could not be credited; else null.';
comment on column pgledger.payment.seq is
  'Which transaction of the account it became; null until it is credited.';
comment on column pgledger.payment.updated_at is 'When it changed last.';

comment on type pgledger.payment_return is
  'A refund or a dispute of a payment, as list_payment_returns shows it.';
comment on column pgledger.payment_return.return_id is
  'The provider''s id of the refund or dispute; the payment''s own for what is known only as the '
  'sum of its refunds.';
comment on column pgledger.payment_return.payment_id is 'Of which payment.';
comment on column pgledger.payment_return.kind is 'REFUND or DISPUTE.';
comment on column pgledger.payment_return.amount is
  'The money, in the smallest unit of the payment''s currency.';
comment on column pgledger.payment_return.currency is
  'The currency of the payment, such as usd; null while nobody has told.';
comment on column pgledger.payment_return.policy is 'What an open dispute does; null: a refund.';
comment on column pgledger.payment_return.request_key is
  'The refund request that this refund carries out; else null.';
comment on column pgledger.payment_return.account_id is
  'Whose payment it is; null while nobody knows.';
comment on column pgledger.payment_return.taken is
  'The credits it has taken from the account, less what it gave back, minor units.';
comment on column pgledger.payment_return.occurred_at is
  'When what is known last happened, by the provider''s clock.';
comment on column pgledger.payment_return.updated_at is 'When it changed last.';

comment on type pgledger.card_check is
  'What a card that was put on file brought; key, seq and amount are null where nothing.';
comment on column pgledger.card_check.key is 'The key of the CARD_CHECK.';
comment on column pgledger.card_check.seq is 'Its place in the account''s journal.';
comment on column pgledger.card_check.amount is 'The credits it brought, minor units.';
comment on column pgledger.card_check.balance is 'The account''s balance now, after the call.';

comment on type pgledger.charge is
  'What the provider is to be asked for: a checkout for a top-up, or a charge for an auto-top-up.';
comment on column pgledger.charge.key is 'The key of the top-up that is announced.';
comment on column pgledger.charge.amount is 'The credits to be bought, minor units.';
comment on column pgledger.charge.status is
  'Of the announced top-up: PENDING, or on a repeat POSTED, CANCELLED or EXPIRED.';
comment on column pgledger.charge.price is
  'The money, in the smallest unit of price_currency; null for an auto-top-up, which the worker '
  'prices.';
comment on column pgledger.charge.price_currency is 'The currency of the money, such as usd.';
comment on column pgledger.charge.attempt is
  'How often the provider has declined it before; 0 for a checkout.';
comment on column pgledger.charge.claims is
  'How often this attempt was claimed, this time included: above 1 it may have been charged '
  'before.';
comment on column pgledger.charge.idempotency_key is
  'What the provider must know the charge by: the same for the same account, key and attempt.';
comment on column pgledger.charge.is_wanted is
  'Whether it may still be charged. Where not, the account was frozen or its auto-top-up changed: '
  'what was charged before is to be found, and nothing is to be charged.';
comment on column pgledger.charge.customer is
  'The CUSTOMER that is linked to the account, the latest of several; else null.';
comment on column pgledger.charge.payment_method is
  'The PAYMENT_METHOD that is linked to the account, the latest of several; else null.';

comment on column pgledger.charge.due_at is
  'When it may be claimed again; null for a checkout, and where nothing is left to do.';

comment on type pgledger.refund_order is
  'An approved refund whose money the provider is to give back.';
comment on column pgledger.refund_order.key is
  'The key of the refund request, to be given to record_payment_refund as request_key.';
comment on column pgledger.refund_order.amount is 'The credits that were taken, minor units.';
comment on column pgledger.refund_order.payment_id is 'Of which payment.';
comment on column pgledger.refund_order.money is
  'How much money, in the smallest unit of money_currency.';
comment on column pgledger.refund_order.money_currency is
  'The currency of the money, such as usd.';
comment on column pgledger.refund_order.claims is
  'How often it was claimed, this time included: above 1 the money may be on its way already.';
comment on column pgledger.refund_order.idempotency_key is
  'What the provider must know the refund by: always the same for the same request.';

comment on type pgledger._request is
  'One movement as a verb asks for it, checked and judged by the private functions. Private.';

comment on type pgledger._item is
  'One movement of a batch, with what the batch asks of its account in all: nth among them, so_far '
  'their sum up to it, total all of it; is_usage and is_plain where all of them are. Private.';

comment on type pgledger._sources is
  'Where the credits of one movement come from: lots (null: the pool) and amounts, pairwise, in '
  'draw order, below 0 for what they get back; from_pool, what the pool loses by it; unreserved, '
  'what a hold no longer reserves in lots; and when the lots it touched end. Private.';
comment on type pgledger._movement is
  'A movement that fell due: the expiry of a lot (amount below 0), or a refill (with a key), '
  'to_lot of which will be a lot of its own. Private.';

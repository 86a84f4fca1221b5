-- A payment is announced, paid, and reported twice: by the webhook and by the success page.
select status, balance
from pgledger.top_up('alice', 1000, key => 'order-1', is_active => false);

select status, balance, replayed
from pgledger.enable_transaction('alice', 'order-1', external_id => 'pi_1');

select status, balance, replayed
from pgledger.enable_transaction('alice', 'order-1', external_id => 'pi_1');

-- Two steps of one execution are charged; the second is retried.
select key, amount, balance, replayed
from pgledger.spend('alice', 120, key => 'step-1', reference => 'chat-7');

select key, amount, balance, replayed
from pgledger.spend('alice', 80, key => 'step-2', reference => 'chat-7');

select key, amount, balance, replayed
from pgledger.spend('alice', 80, key => 'step-2', reference => 'chat-7');

-- Too much is refused with the numbers: as an error, or as a row where an error would be in the way.
select status, refusal, balance, available
from pgledger.spend('alice', 5000, raise_refusals => false);

-- Or what is there is spent.
select status, amount, requested_amount, balance
from pgledger.spend('alice', 5000, key => 'step-3', reference => 'chat-8', shortfall => 'PARTIAL');

-- An answer streams: an estimate is held, what it cost is captured, and the rest is free again.
select status, balance, available
from pgledger.top_up('alice', 600, key => 'order-2', external_id => 'pi_2');

select status, amount, balance, available
from pgledger.hold('alice', 300, key => 'answer-1', reference => 'chat-9');

select status, amount, balance, available
from pgledger.capture('alice', 'answer-1', amount => 180);

-- She tops up by herself from now on. The spend that leaves too little asks for it, once.
select threshold, amount, mode, waiting_for
from pgledger.set_auto_top_up('alice', threshold => 100, amount => 500);

select status, amount, available
from pgledger.spend('alice', 350, key => 'step-4', reference => 'chat-9');

select account_id, seq, kind, payload ->> 'key' as key, payload ->> 'amount' as amount
from pgledger.claim_events();

select status, amount, available
from pgledger.enable_transaction('alice', '#auto-1', external_id => 'pi_3');

select pgledger.ack_events(array['alice'], array[1]);

-- A spend is undone, a payment goes back to the payer, and some credits go to another account.
select type, amount, available
from pgledger.reverse_transaction('alice', 'step-4', amount => 50, key => 'sorry-1');

select type, amount, available
from pgledger.refund('alice', 'order-2', key => 'refund-1', external_id => 're_1');

select status, balance
from pgledger.top_up('bob', 10);

select account_id, type, amount, available
from pgledger.transfer('alice', 'bob', 20, key => 'gift-1');

-- He gets a trial that ends in two weeks: what ends first is spent first, and what paid is recorded.
select status, amount, available
from pgledger.grant_credits('bob', 50, key => 'trial', expires_at => now() + interval '14 days');

select status, amount, available
from pgledger.spend('bob', 60, key => 'step-1', reference => 'chat-10');

select place, lot_key, amount
from pgledger.explain_transaction('bob', 'step-1');

-- Then a plan: 300 a month, of which nothing rolls over, and at most 100 are to be used in a day.
select code, amount, period, policy
from pgledger.create_plan('pro', 300, '1 month', 'RESET');

select account_id, plan
from pgledger.assign_plan('bob', 'pro');

select key ~ '^#refill-pro-' as is_refill, granted, remaining
from pgledger.lots('bob', include_closed => false);

select amount, period
from pgledger.set_spending_cap('bob', 100, period => '1 day');

select status, refusal, available
from pgledger.spend('bob', 50, raise_refusals => false);

-- What a model costs by the token, in fractions of a credit; what was used is rounded once.
select code, rounding, changed
from pgledger.set_price('gpt-large', '{"input_token": 0.015, "output_token": 0.12}');

select status, balance
from pgledger.top_up('carol', 300, key => 'order-1');

select amount, balance
from pgledger.spend_usage('carol', 'gpt-large', '{"input_token": 1200, "output_token": 345}',
  key => 'answer-1', reference => 'chat-11');

select u.key as unit, u.value ->> 'quantity' as quantity, u.value ->> 'credits' as credits
from pgledger.get_transaction('carol', 'answer-1') t, jsonb_each(t.usage -> 'breakdown') u
order by 1;

-- An answer streams: the estimate is held at its price, and what was delivered is captured.
select status, amount, available
from pgledger.hold_usage('carol', 'gpt-large', '{"input_token": 1200, "output_token": 1000}',
  key => 'answer-2', reference => 'chat-11');

select status, amount, available
from pgledger.capture_usage('carol', 'answer-2', '{"input_token": 1200, "output_token": 150}');

-- The next costs more than was held: what is above it is a spend of its own, here as far as it goes.
select status, amount, available
from pgledger.hold_usage('carol', 'gpt-large', '{"input_token": 1200, "output_token": 1000}',
  key => 'answer-3', reference => 'chat-11');

select status, amount, requested_amount, available
from pgledger.capture_usage('carol', 'answer-3', '{"input_token": 1200, "output_token": 2000}',
  shortfall => 'PARTIAL');

select seq, key, amount, requested_amount, running_balance
from pgledger.history('carol', limit_count => 2);

-- Many movements in one call: each is posted, replayed or refused by itself, in the order given.
select account_id, key, status, amount, balance, refusal
from pgledger.post_batch(
  account_ids => array['bob', 'carol', 'dave', 'dave'],
  amounts => array[50, 200, 100, -120],
  types => array['GRANT', 'TOP_UP', 'TOP_UP', 'USAGE']::pgledger.transaction_type[],
  keys => array['sorry-1', 'order-2', 'order-1', 'step-1']
);

-- The same from a client without arrays. An item with a code is priced like any other usage.
select account_id, key, status, replayed, amount, balance, refusal
from pgledger.post_batch_json('[
  {"account_id": "dave", "type": "TOP_UP", "amount": 100, "key": "order-1"},
  {"account_id": "dave", "type": "USAGE", "amount": -80, "key": "step-2"},
  {"account_id": "carol", "type": "USAGE", "code": "gpt-large",
    "quantities": {"output_token": 500}, "key": "answer-4"}
]');

-- What happened, newest first; what each execution used; and whether everything adds up.
select seq, key, type, amount, running_balance, original_seq, counterparty
from pgledger.history('alice');

select reference, spends, amount
from pgledger.usage_by_reference('alice');

select count(*) as disagreements
from pgledger.verify();

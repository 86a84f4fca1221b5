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

-- What happened, newest first; what each execution used; and whether everything adds up.
select seq, key, type, amount, running_balance
from pgledger.history('alice');

select reference, spends, amount
from pgledger.usage_by_reference('alice');

select count(*) as disagreements
from pgledger.verify('alice');

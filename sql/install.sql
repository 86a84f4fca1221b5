-- pgledger: a ledger for prepaid credits that lives in PostgreSQL.
--
-- An account holds credits, counted as bigint in minor units. What happened to them is the journal
-- (transactions): one immutable row per movement, numbered 1, 2, 3 and so on per account, each with
-- the balance right after it. What is there now is one row (balances), derived from the journal and
-- rebuilt from it when missing. What is only announced waits aside (pending_transactions) until it
-- is enabled or cancelled. Settings are cold (accounts).
--
-- A posting is two statements (functions/_post.sql). One guarded UPDATE of the balance row
-- decides: it takes the lock, re-checks its condition on the newest version of the row, and only
-- adds. One INSERT writes the journal; when it finds the key taken, the addition is taken back and
-- the call answers with the original.
--
-- When the UPDATE matches nothing, nothing is proved: its condition may have failed on a version
-- that a writer in flight is about to replace. So the slow path (functions/_post_under_lock.sql)
-- first makes sure that the row exists and locks it, each in a statement of its own, because under
-- READ COMMITTED only a later statement sees what was committed during the wait. What it reads
-- under the lock is judged anew: a repeat is answered first, then the movement is posted or
-- refused with exact numbers.
--
-- A batch (functions/_post_all.sql) locks all its accounts in one order and judges what it asks of
-- each as one movement of its sum. What the fast path would post is posted together, by one UPDATE
-- and one INSERT; everything else goes one by one through the functions above, so there is one set
-- of rules.
--
-- The balance row is the only lock of a movement, and always the first. What a payment provider
-- tells (functions/record_payment.sql) is known before its account is, so that the row of the event
-- is locked before it, and then the row of the payment; several payments in one order. Nothing that
-- holds the lock of a balance row locks one of those. Rows of charges, requests and identifiers are
-- locked under the balance row, or by a statement that locks nothing else. There are no advisory
-- locks and no session state, so everything works through a transaction-mode pooler. In REPEATABLE
-- READ and SERIALIZABLE a conflict surfaces as 40001, never as a wrong refusal.
--
-- Clients issue nothing but calls of the functions whose names have no leading underscore. They run
-- with their owner's rights under a fixed search_path; nobody else may write the tables, and
-- EXECUTE is nobody's until it is granted.
--
-- This file is the manifest: what the database should be, in order. It is safe to run again.
-- An existing database gets here through migrations/.

-- What follows an error must not run: the last file says that all of it is here.
\set ON_ERROR_STOP on

\ir schema/schema.sql
\ir schema/types.sql
\ir schema/aggregates.sql
\ir schema/currencies.sql
\ir schema/accounts.sql
\ir schema/balances.sql
\ir schema/transactions.sql
\ir schema/pending_transactions.sql
\ir schema/lots.sql
\ir schema/draws.sql
\ir schema/plans.sql
\ir schema/spending_caps.sql
\ir schema/prices.sql
\ir schema/auto_top_ups.sql
\ir schema/top_ups.sql
\ir schema/payments.sql
\ir schema/refund_requests.sql
\ir schema/account_identifiers.sql
\ir schema/audit_log.sql
\ir schema/events.sql

-- Checks and rules.
\ir functions/_reject.sql
\ir functions/_is_label.sql
\ir functions/_is_metadata.sql
\ir functions/_is_key.sql
\ir functions/_allows.sql
\ir functions/_is_plain.sql
\ir functions/_is_well_formed.sql
\ir functions/_fits.sql
\ir functions/_forms_lot.sql
\ir functions/_is_low.sql
\ir functions/_pending_status.sql
\ir functions/_seq_of.sql
\ir functions/_checked_account.sql
\ir functions/_checked_key.sql
\ir functions/_checked_limit.sql
\ir functions/_checked_span.sql
\ir functions/_checked_lease.sql
\ir functions/_check_labels.sql
\ir functions/_check_reason.sql
\ir functions/_asked.sql
\ir functions/_check_request.sql
\ir functions/_check_auto_top_up.sql
\ir functions/_check_final_amount.sql
\ir functions/_check_range.sql
\ir functions/_checked_period.sql
\ir functions/_checked_time_zone.sql
\ir functions/_check_plan.sql
\ir functions/_check_assignment.sql
\ir functions/_number.sql
\ir functions/_wrong_units.sql
\ir functions/_check_price_list.sql
\ir functions/_check_quantities.sql
\ir functions/_check_usage.sql
\ir functions/_is_usage.sql

-- Periods, and what plans and spending caps make of them.
\ir functions/_utc.sql
\ir functions/_period_local.sql
\ir functions/_period_begin.sql
\ir functions/_period_number.sql
\ir functions/_period_start.sql
\ir functions/_period_end.sql
\ir functions/_period_anchor.sql
\ir functions/_plan_now.sql
\ir functions/_refill_key.sql
\ir functions/_refills_due.sql
\ir functions/_advance_plan.sql
\ir functions/_last_seq_before.sql
\ir functions/_cap_now.sql
\ir functions/_reset_cap.sql

-- Prices, and what usage costs by them.
\ir functions/_rounded.sql
\ir functions/_price_list_at.sql
\ir functions/_prices_of.sql
\ir functions/_no_price.sql
\ir functions/_priced.sql
\ir functions/_quantities_of.sql
\ir functions/_usage_told.sql

-- The balance row.
\ir functions/_attention_at.sql
\ir functions/_armed_below.sql
\ir functions/_reserved.sql
\ir functions/_lots_told.sql
\ir functions/_pool_told.sql
\ir functions/_derive_balance.sql
\ir functions/_balance_row.sql
\ir functions/_lots_asked.sql
\ir functions/_lots_now.sql
\ir functions/_expiries_due.sql
\ir functions/_held_expired.sql
\ir functions/_due.sql
\ir functions/_allowance_due.sql
\ir functions/_without_due.sql
\ir functions/_balance_now.sql
\ir functions/_put_head_back.sql
\ir functions/_choose_head.sql
\ir functions/_write_balance.sql
\ir functions/_lock_balance.sql
\ir functions/_open_if_new.sql
\ir functions/_emit.sql
\ir functions/_audit.sql
\ir functions/_audited.sql
\ir functions/_tell_low.sql

-- Where credits come from and go to: the pool and the lots.
\ir functions/_sources_from.sql
\ir functions/_with_source.sql
\ir functions/_take_lots.sql
\ir functions/_draw.sql
\ir functions/_unreserve.sql
\ir functions/_give_back.sql
\ir functions/_form_lot.sql
\ir functions/_sources_of.sql
\ir functions/_record.sql
\ir functions/_cap_change.sql
\ir functions/_enter.sql
\ir functions/_expire.sql
\ir functions/_expire_ended.sql
\ir functions/_reserve.sql

-- What fell due.
\ir functions/_close_holds.sql
\ir functions/_enter_due.sql
\ir functions/_settle_due.sql
\ir functions/_expire_lot.sql

-- The answers of the ledger.
\ir functions/_forget_unopened.sql
\ir functions/_as_posting.sql
\ir functions/_as_replay.sql
\ir functions/_words.sql
\ir functions/_refuse.sql
\ir functions/_refuse_price.sql
\ir functions/_conflict.sql
\ir functions/_lock_account.sql
\ir functions/_require_empty.sql

-- Who is who.
\ir functions/_is_placeholder.sql
\ir functions/_identifier_kind.sql
\ir functions/_identifier_value.sql
\ir functions/_checked_identifier.sql
\ir functions/_is_known.sql
\ir functions/_link.sql
\ir functions/_identified.sql
\ir functions/_open_identified.sql
\ir functions/_refuse_link.sql
\ir functions/_audit_identifier.sql

-- Posting.
\ir functions/_same_lot.sql
\ir functions/_replay.sql
\ir functions/_replay_external_id.sql
\ir functions/_replay_enabled.sql
\ir functions/_original_left.sql
\ir functions/_judge_credit.sql
\ir functions/_judge_debit.sql
\ir functions/_judge.sql
\ir functions/_disarm.sql
\ir functions/_rearm.sql
\ir functions/_auto_top_up_pause.sql
\ir functions/_next_auto_top_up.sql
\ir functions/_request_top_up.sql
\ir functions/_auto_top_up.sql
\ir functions/_watched.sql
\ir functions/_apply.sql
\ir functions/_announce.sql
\ir functions/_post_locked.sql
\ir functions/_post_under_lock.sql
\ir functions/_take_back.sql
\ir functions/_take_back_hold.sql
\ir functions/_take_back_capture.sql
\ir functions/_post.sql
\ir functions/_hold.sql
\ir functions/_capture.sql
\ir functions/_lock_balances.sql
\ir functions/_weigh.sql
\ir functions/_judge_together.sql
\ir functions/_post_together.sql
\ir functions/_price_all.sql
\ir functions/_post_item.sql
\ir functions/_post_isolated.sql
\ir functions/_post_singly.sql
\ir functions/_raise_first.sql
\ir functions/_post_all.sql
\ir functions/_settlement.sql
\ir functions/_refuse_settled.sql
\ir functions/_as_enabled.sql
\ir functions/_enable.sql
\ir functions/_pending_by_key.sql
\ir functions/_cancel.sql
\ir functions/_enable_by_key.sql
\ir functions/_cancel_by_key.sql
\ir functions/_capture_beyond.sql
\ir functions/_replay_usage.sql
\ir functions/_capture_usage.sql
\ir functions/_undone_amount.sql
\ir functions/_undo.sql
\ir functions/_judge_transfer.sql
\ir functions/_transfer.sql

-- The verbs.
\ir functions/open_account.sql
\ir functions/_store_status.sql
\ir functions/set_account_status.sql
\ir functions/set_limits.sql
\ir functions/set_low_balance_level.sql
\ir functions/add_transaction.sql
\ir functions/spend.sql
\ir functions/top_up.sql
\ir functions/grant_credits.sql
\ir functions/_check_array.sql
\ir functions/post_batch.sql
\ir functions/_check_batch_json.sql
\ir functions/post_batch_json.sql
\ir functions/enable_transaction.sql
\ir functions/cancel_transaction.sql
\ir functions/hold.sql
\ir functions/capture.sql
\ir functions/release.sql
\ir functions/refund.sql
\ir functions/reverse_transaction.sql
\ir functions/_lot_of.sql
\ir functions/revoke_lot.sql
\ir functions/transfer.sql

-- Money that goes back: refunds and disputes of payments.
\ir functions/_check_label.sql
\ir functions/_checked_provider.sql
\ir functions/_checked_provider_id.sql
\ir functions/_check_return.sql
\ir functions/_is_in_effect.sql
\ir functions/_store_return.sql
\ir functions/_told_refunds.sql
\ir functions/_own_refunds.sql
\ir functions/_return_targets.sql
\ir functions/_move_return.sql
\ir functions/_level_returns.sql
\ir functions/_frozen_by_disputes.sql
\ir functions/_freeze_disputed.sql
\ir functions/_settle_returns.sql
\ir functions/_tell_refund_request.sql
\ir functions/_return_told.sql
\ir functions/_tell_dispute.sql
\ir functions/record_payment_refund.sql
\ir functions/record_dispute.sql
\ir functions/list_payment_returns.sql

-- Who is who.
\ir functions/resolve_account.sql
\ir functions/link_identifier.sql
\ir functions/unlink_identifier.sql

-- Plans and spending caps.
\ir functions/_allowance.sql
\ir functions/_expire_allowance.sql
\ir functions/_store_plan.sql
\ir functions/_clear_plan.sql
\ir functions/create_plan.sql
\ir functions/assign_plan.sql
\ir functions/clear_plan.sql
\ir functions/set_spending_cap.sql

-- Prices.
\ir functions/_store_price_list.sql
\ir functions/set_price.sql
\ir functions/price.sql
\ir functions/spend_usage.sql
\ir functions/hold_usage.sql
\ir functions/capture_usage.sql
\ir functions/list_prices.sql

-- Top-ups that are to be paid, and who charges them.
\ir functions/_provider_key.sql
\ir functions/_latest_identifier.sql
\ir functions/_as_charge.sql
\ir functions/_charge_by_key.sql
\ir functions/_decline_pause.sql
\ir functions/_switch_off.sql
\ir functions/_decline.sql
\ir functions/_top_up_limits_of.sql
\ir functions/_check_top_up_limits.sql
\ir functions/_judge_top_up.sql
\ir functions/_with_price.sql
\ir functions/_same_price.sql
\ir functions/set_top_up_limits.sql
\ir functions/create_top_up.sql
\ir functions/claim_top_ups.sql
\ir functions/decline_top_up.sql
\ir functions/defer_top_up.sql
\ir functions/list_pending_top_ups.sql

-- Payments.
\ir functions/_lock_payment.sql
\ir functions/_payment_told.sql
\ir functions/_check_payment.sql
\ir functions/_merged_payment.sql
\ir functions/_refuse_payment.sql
\ir functions/_matched_by_hand.sql
\ir functions/_post_payment.sql
\ir functions/_drop_announced.sql
\ir functions/_credit_payment.sql
\ir functions/_tell_paid.sql
\ir functions/_tell_unmatched.sql
\ir functions/_tell_failed.sql
\ir functions/_keep_payment.sql
\ir functions/record_payment.sql
\ir functions/_key_to_match.sql
\ir functions/_rematched_payment.sql
\ir functions/match_payment.sql
\ir functions/_link_own.sql
\ir functions/_post_card_check.sql
\ir functions/record_card_check.sql
\ir functions/_payment_result.sql
\ir functions/_apply_payment.sql
\ir functions/_apply_refund.sql
\ir functions/_apply_dispute.sql
\ir functions/_apply_card_check.sql
\ir functions/_apply_cancellation.sql
\ir functions/_check_facts.sql
\ir functions/_apply_facts.sql
\ir functions/_try_facts.sql
\ir functions/_event_told.sql
\ir functions/record_payment_event.sql
\ir functions/process_payment_event.sql

-- Auto-top-up, the outbox, and housekeeping.
\ir functions/_store_auto_top_up.sql
\ir functions/set_auto_top_up.sql
\ir functions/check_auto_top_up.sql
\ir functions/_first_events.sql
\ir functions/_claim_run.sql
\ir functions/claim_events.sql
\ir functions/ack_events.sql
\ir functions/run_due.sql

-- Refund requests.
\ir functions/_lock_paid.sql
\ir functions/_require_unused.sql
\ir functions/_refund_money.sql
\ir functions/_approve_refund.sql
\ir functions/_is_unspent.sql
\ir functions/_check_refund_request.sql
\ir functions/_judge_refund_request.sql
\ir functions/_replay_refund_request.sql
\ir functions/_refuse_decided.sql
\ir functions/_lock_refund_request.sql
\ir functions/request_refund.sql
\ir functions/approve_refund.sql
\ir functions/reject_refund.sql
\ir functions/_refund_provider_key.sql
\ir functions/claim_refunds.sql
\ir functions/_give_refund_back.sql
\ir functions/settle_refund_request.sql

-- The readers.
\ir functions/get_credits.sql
\ir functions/get_balance.sql
\ir functions/check_credits.sql
\ir functions/get_transaction.sql
\ir functions/history.sql
\ir functions/usage_by_reference.sql
\ir functions/balance_at.sql
\ir functions/lots.sql
\ir functions/expiring.sql
\ir functions/_why_drawn.sql
\ir functions/_explain_posted.sql
\ir functions/explain_transaction.sql
\ir functions/explain_balance.sql
\ir functions/get_auto_top_up.sql
\ir functions/list_identifiers.sql
\ir functions/get_top_up_limits.sql
\ir functions/list_events.sql
\ir functions/list_audit.sql
\ir functions/list_refund_requests.sql
\ir functions/list_plans.sql
\ir functions/_allowance_left.sql
\ir functions/get_plan.sql
\ir functions/get_spending_cap.sql
\ir functions/get_payment_event.sql
\ir functions/list_payment_events.sql
\ir functions/_payments_found.sql
\ir functions/list_payments.sql

-- The auditor.
\ir functions/_verify_journal.sql
\ir functions/_verify_balance.sql
\ir functions/_verify_pending.sql
\ir functions/_verify_account.sql
\ir functions/_verify_originals.sql
\ir functions/_verify_transfers.sql
\ir functions/_verify_auto_top_up.sql
\ir functions/_verify_charges.sql
\ir functions/_verify_lots.sql
\ir functions/_verify_draws.sql
\ir functions/_verify_reservations.sql
\ir functions/_verify_pool.sql
\ir functions/_verify_plans.sql
\ir functions/_verify_caps.sql
\ir functions/_usage_sum.sql
\ir functions/_verify_usage.sql
\ir functions/_verify_returns.sql
\ir functions/_verify_nobodys_returns.sql
\ir functions/_verify_refund_requests.sql
\ir functions/_verify_payments.sql
\ir functions/_verify_subjects.sql
\ir functions/_verify_guard.sql
\ir functions/verify.sql

-- Last: all of the above is here.
\ir functions/_schema_version.sql

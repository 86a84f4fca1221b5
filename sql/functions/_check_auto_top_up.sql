create or replace function pgledger._check_auto_top_up(settings pgledger.auto_top_ups)
returns void
language plpgsql
as $$
declare
  v_limit record;
begin
  if settings.threshold is null then
    perform pgledger._reject('threshold', null, 'Say below what to top up, in minor units.');
  end if;
  if not coalesce(settings.amount > 0, false) then
    perform pgledger._reject('amount', settings.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;
  if settings.mode is null then
    perform pgledger._reject('mode', null, 'One of INTENT, INSTANT.');
  end if;
  if settings.enabled is null then
    perform pgledger._reject('enabled', null, 'true or false.');
  end if;

  for v_limit in
    select l.name, l.value, l.lowest
    from (values
      ('daily_count_limit', settings.daily_count_limit, 1::bigint),
      ('daily_amount_limit', settings.daily_amount_limit, settings.amount),
      ('monthly_count_limit', settings.monthly_count_limit, 1::bigint),
      ('monthly_amount_limit', settings.monthly_amount_limit, settings.amount)
    ) l (name, value, lowest)
    where l.value < l.lowest
  loop
    perform pgledger._reject(v_limit.name, v_limit.value::text,
      'A limit leaves room for one top-up, here at least ' || v_limit.lowest || '.');
  end loop;
end;
$$;

comment on function pgledger._check_auto_top_up(pgledger.auto_top_ups) is
  'Refuses (22023, 22004) settings that could never top up. Private.';

revoke all on function pgledger._check_auto_top_up(pgledger.auto_top_ups) from public;

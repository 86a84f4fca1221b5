create or replace function pgledger._check_assignment(
  plan text, starts_at timestamptz, at_once boolean, expire_allowance boolean
) returns void
language plpgsql stable
as $$
begin
  if not exists (
    select from pgledger.plans p where p.code = _check_assignment.plan collate "default")
  then
    perform pgledger._reject('plan', _check_assignment.plan,
      'Use the code of a plan, or create it first.');
  end if;
  -- Within these years a date has ten characters.
  if _check_assignment.starts_at not between '0002-01-01Z' and '9000-01-01Z' then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'Give a point in time of the years 2 to 8999.');
  end if;
  if _check_assignment.at_once is null then
    perform pgledger._reject('at_once', null, 'true or false.');
  end if;
  if _check_assignment.at_once and _check_assignment.starts_at is not null then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'A plan begins at once, or at starts_at: give one of the two.');
  end if;
  if _check_assignment.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;
  if _check_assignment.expire_allowance and not _check_assignment.at_once then
    perform pgledger._reject('expire_allowance', 'true',
      'An allowance is only ended before its time when the plan changes at once.');
  end if;
end;
$$;

comment on function pgledger._check_assignment(text, timestamptz, boolean, boolean) is
  'Refuses (22023, 22004) what assign_plan cannot be asked. Private.';

revoke all on function
  pgledger._check_assignment(text, timestamptz, boolean, boolean) from public;

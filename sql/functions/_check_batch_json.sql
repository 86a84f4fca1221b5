create or replace function pgledger._check_batch_json(items jsonb) returns void
language plpgsql
as $$
declare
  v_where text;
  v_given jsonb;
  v_rule text;
begin
  if jsonb_typeof(items) is distinct from 'array' then
    perform pgledger._reject('items', items::text, 'A JSON array of objects, one for each item.');
  end if;

  select 'items[' || i.place || ']', i.item, 'An object, with account_id, amount and type.'
  into v_where, v_given, v_rule
  from jsonb_array_elements(items) with ordinality i (item, place)
  where jsonb_typeof(i.item) <> 'object'
  order by i.place
  limit 1;

  if not found then
    select 'items[' || i.place || '].' || f.name, f.given,
      coalesce(e.rule, 'There is no such field: a batch takes those of post_batch, one by one.')
    into v_where, v_given, v_rule
    from jsonb_array_elements(items) with ordinality i (item, place)
    cross join jsonb_each(i.item) f (name, given)
    left join (values
      ('account_id', '^"', null, 'A text.'),
      ('amount', '^-?[0-9]+$', 9223372036854775807,
        'A whole number of minor units, within a bigint.'),
      ('type', '^"', null, 'The name of a transaction_type.'),
      ('key', '^"', null, 'A text.'),
      ('reference', '^"', null, 'A text.'),
      ('metadata', '', null, 'An object.'),
      ('shortfall', '^"', null, 'A text.'),
      ('external_id', '^"', null, 'A text.'),
      ('ceiling_balance', '^-?[0-9]+$', 9223372036854775807,
        'A whole number of minor units, within a bigint.'),
      ('expires_at', '^"', null, 'A point in time, as text.'),
      ('priority', '^-?[0-9]+$', 2147483647, 'A whole number, within an integer.'),
      ('code', '^"', null, 'A text.'),
      ('quantities', '', null, 'An object.')
    ) e (name, pattern, most, rule) on e.name = f.name
    where e.name is null or (f.given <> 'null' and case
      when f.given::text !~ e.pattern then true
      when e.most is not null then f.given::numeric not between -e.most - 1 and e.most
      else false
    end)
    order by i.place, f.name
    limit 1;
  end if;
  if v_where is not null then
    perform pgledger._reject(v_where, v_given::text, v_rule);
  end if;
end;
$$;

comment on function pgledger._check_batch_json(jsonb) is
  'Refuses (22023, 22004) what is no array of objects with the fields of a batch. Private.';

revoke all on function pgledger._check_batch_json(jsonb) from public;

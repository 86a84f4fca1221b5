create or replace function pgledger._check_label(parameter text, label text) returns void
language plpgsql
as $$
begin
  if not pgledger._is_label(_check_label.label) then
    perform pgledger._reject(_check_label.parameter, _check_label.label,
      'A name of 1 to 255 characters, none of them a control character.');
  end if;
end;
$$;

comment on function pgledger._check_label(text, text) is
  'Refuses (22023) a text that cannot name something. Null is not given, and fine. Private.';

revoke all on function pgledger._check_label(text, text) from public;

create or replace function pgledger._check_labels(
  key text, reference text, external_id text, metadata jsonb
) returns void
language plpgsql
as $$
begin
  if not pgledger._is_label(_check_labels.key) then
    perform pgledger._reject('key', _check_labels.key,
      'A key has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_label(_check_labels.reference) then
    perform pgledger._reject('reference', _check_labels.reference,
      'A reference has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_label(_check_labels.external_id) then
    perform pgledger._reject('external_id', _check_labels.external_id,
      'An external_id has 1 to 255 characters, none of them a control character.');
  end if;
  if not pgledger._is_metadata(_check_labels.metadata) then
    perform pgledger._reject('metadata', _check_labels.metadata::text,
      'Metadata is a JSON object of at most 64 KiB; keep large documents elsewhere.');
  end if;
end;
$$;

comment on function pgledger._check_labels(text, text, text, jsonb) is
  'Refuses (22023) texts that cannot name a movement, and metadata that is no small object. '
  'Null is not given, and fine. Private.';

revoke all on function pgledger._check_labels(text, text, text, jsonb) from public;

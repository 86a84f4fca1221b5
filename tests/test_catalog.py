"""Rules that hold over all of sql/ and all that it makes, so that nobody has to remember them."""

import re
from pathlib import Path

import psycopg
import pytest

from pgledger import migrate
from tests.support import Ledger

SQL = migrate.source_directory()
FILES = sorted(SQL.rglob("*.sql"))
FUNCTION_FILES = sorted((SQL / "functions").glob("*.sql"))
STATEMENTS = {file: re.sub(r"--.*", "", file.read_text()) for file in FILES}

# Columns whose name, in a commented table, says all.
PLAIN_COLUMNS = {
    "account_id",
    "available",
    "code",
    "created_at",
    "currency",
    "external_id",
    "metadata",
    "provider",
    "reference",
    "replayed",
    "status",
    "type",
}

FUNCTIONS = """
select p.*, l.lanname as language, p.oid::regprocedure::text as signature,
  pg_get_functiondef(p.oid) as definition, p.proname like '\\_%' as private,
  obj_description(p.oid, 'pg_proc') as comment
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = 'pgledger'::regnamespace and p.prokind <> 'a'
order by p.proname
"""


def names(db: Ledger, query: str) -> list[str]:
    """Return the first column of a query that looks for offenders."""
    return [str(next(iter(row.values()))) for row in db.execute(query).fetchall()]


def functions_with(db: Ledger, condition: str) -> list[str]:
    return names(db, f"select f.signature from ({FUNCTIONS}) f where {condition}")


def test_there_is_something_to_check(db: Ledger) -> None:
    assert len(functions_with(db, "private")) > 30
    assert len(functions_with(db, "not private")) == 80
    assert len(FUNCTION_FILES) > 90


def test_every_function_has_a_comment_that_is_a_sentence(db: Ledger) -> None:
    assert functions_with(db, "comment is null or comment !~ '[.]$'") == []
    assert functions_with(db, "private and comment !~ ' Private[.]$'") == []
    assert functions_with(db, "not private and comment ~ 'Private[.]'") == []


def test_every_public_function_names_what_it_refuses_with(db: Ledger) -> None:
    assert functions_with(db, "not private and comment !~ 'Refuses' and proname <> 'verify'") == []


def test_every_table_and_type_has_a_comment(db: Ledger) -> None:
    query = """
    select c.relname
    from pg_class c
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'S')
      and obj_description(c.oid, 'pg_class') is null
    union all
    select t.typname
    from pg_type t
    left join pg_class c on c.oid = t.typrelid
    where t.typnamespace = 'pgledger'::regnamespace and t.typtype in ('c', 'e', 'd', 'r')
      and coalesce(c.relkind, 'c') = 'c' and obj_description(t.oid, 'pg_type') is null
    """
    assert names(db, query) == []
    assert names(db, "select 1 where obj_description('pgledger'::regnamespace) is null") == []


def test_every_column_whose_meaning_is_not_its_name_has_a_comment(db: Ledger) -> None:
    found = db.execute(
        "select c.relname || '.' || a.attname as name, a.attname as column"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " where c.relnamespace = 'pgledger'::regnamespace and c.relkind in ('r', 'v', 'c')"
        " and c.relname not like '\\_%' and a.attnum > 0 and not a.attisdropped"
        " and col_description(a.attrelid, a.attnum) is null"
    ).fetchall()
    told_by_their_table = {
        "transaction.seq",
        "transaction.running_balance",
    }
    assert {
        row["name"]
        for row in found
        if row["column"] not in PLAIN_COLUMNS and row["name"] not in told_by_their_table
    } == set()


def test_definer_functions_have_a_fixed_search_path(db: Ledger) -> None:
    fixed = "proconfig @> array['search_path=pg_catalog, pg_temp']"
    assert functions_with(db, f"prosecdef and not coalesce({fixed}, false)") == []
    assert functions_with(db, "not private and not prosecdef") == []
    assert functions_with(db, "private and prosecdef") == []


def test_a_trigger_function_has_a_fixed_search_path_too(db: Ledger) -> None:
    fixed = "proconfig @> array['search_path=pg_catalog, pg_temp']"
    triggers = "prorettype = 'trigger'::regtype"
    assert len(functions_with(db, triggers)) == 1
    assert functions_with(db, f"{triggers} and not coalesce({fixed}, false)") == []


def test_no_name_has_two_functions(db: Ledger) -> None:
    query = f"select proname from ({FUNCTIONS}) f group by proname having count(*) > 1"
    assert names(db, query) == []


def test_no_function_is_variadic_or_strict_or_a_procedure(db: Ledger) -> None:
    assert functions_with(db, "provariadic <> 0") == []
    assert functions_with(db, "proisstrict") == []
    assert functions_with(db, "prokind <> 'f'") == []
    assert names(
        db,
        "select proname from pg_proc where prokind = 'a' and proname like '\\_%' and pronamespace"
        " = 'pgledger'::regnamespace",
    ) == ["_total"]
    assert functions_with(db, "language not in ('sql', 'plpgsql')") == []


def test_functions_that_write_are_volatile_and_readers_are_stable(db: Ledger) -> None:
    writes = r"definition ~* '\m(insert into|update pgledger|delete from|for update)\M'"
    assert len(functions_with(db, writes)) > 10
    assert functions_with(db, f"{writes} and provolatile <> 'v'") == []
    readers = (
        "not private and proname ~"
        " '^(get_|check_credits|balance_at|history|usage_|list_|price$|verify|lots|expiring"
        "|explain_)'"
    )
    assert len(functions_with(db, readers)) == 28
    assert functions_with(db, f"{readers} and provolatile <> 's'") == []
    assert functions_with(db, f"not private and not ({readers}) and provolatile <> 'v'") == []


def test_parameters_are_unprefixed_words(db: Ledger) -> None:
    query = f"""
    select f.signature || ' ' || coalesce(n.name, 'unnamed')
    from ({FUNCTIONS}) f, unnest(coalesce(f.proargnames, array_fill(null::text, array[f.pronargs])))
      with ordinality n (name, place)
    where n.place <= f.pronargs and coalesce(n.name, '') !~ '^[a-z][a-z]*(_[a-z]+)*$'
       or n.name ~ '^(p|v|in|arg)_'
    """
    assert names(db, query) == []


def test_variables_and_parameters_are_told_from_columns(db: Ledger) -> None:
    for file, statements in STATEMENTS.items():
        for declared in re.findall(r"\bdeclare\b(.*?)\bbegin\b", statements, re.DOTALL):
            for variable in re.findall(r"^  (\w+) [^:]", declared, re.MULTILINE):
                assert variable.startswith("v_"), f"{file.name}: {variable}"
    assert functions_with(db, "language = 'plpgsql' and definition ~ '\\$[1-9]'") == []


def test_there_is_no_dynamic_sql(db: Ledger) -> None:
    assert functions_with(db, r"definition ~* '\mexecute\M(?! function)'") == []


def test_no_function_catches_what_it_cannot_know(db: Ledger) -> None:
    # Whatever goes wrong with a top-up, the debit that asked for it stands; and one misused item of
    # a batch is none of the others' business; what an event tells may be wrong, and is kept.
    catching = functions_with(db, r"definition ~* '\mexception\s+when\M'")
    assert catching == [
        "pgledger._auto_top_up(text,text,timestamp with time zone)",
        "pgledger._post_all(pgledger._request[],text[])",
        "pgledger._post_isolated(pgledger._request,boolean)",
        "pgledger._try_facts(pgledger.payment_events,jsonb)",
    ]
    misuse = functions_with(db, r"definition ~* '\mexception\s+when\s+data_exception\M'")
    assert misuse == catching[1:3]


def test_what_answers_with_one_row_says_so_to_the_planner(db: Ledger) -> None:
    # Two guesses of 1000 rows made a million of the first movement of an account: a server that
    # compiles costly queries took 0.3 seconds for it.
    one = "('_pool_told', '_cap_now', 'get_plan', 'get_spending_cap')"
    assert len(functions_with(db, f"proname in {one} and prorows = 1")) == 4


def test_nothing_is_granted_to_everybody(db: Ledger) -> None:
    grants = """
    select f.signature || ' ' || g.privilege_type
    from ({functions}) f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) g
    where g.grantee = 0
    """.replace("{functions}", FUNCTIONS)
    assert names(db, grants) == []
    query = """
    select c.relname
    from pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) g
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind in ('r', 'v') and g.grantee = 0
    union all
    select n.nspname from pg_namespace n, aclexplode(n.nspacl) g
    where n.nspname = 'pgledger' and g.grantee = 0
    """
    assert names(db, query) == []


@pytest.fixture
def application(db: Ledger, connect_as_application: Ledger) -> Ledger:
    """A role that may use the schema and call the public functions, as the manual grants it."""
    db.execute("grant usage on schema pgledger to application")
    for signature in functions_with(db, "not private"):
        db.execute(f"grant execute on function {signature} to application")
    return connect_as_application


@pytest.fixture
def connect_as_application(db: Ledger, request: pytest.FixtureRequest) -> Ledger:
    db.execute(
        "do $$ begin create role application; exception when duplicate_object then null; end $$"
    )
    connection: Ledger = request.getfixturevalue("connect")()
    connection.execute("set role application")
    return connection


def test_an_application_calls_every_public_function(application: Ledger) -> None:
    for call in (
        "open_account('a')",
        "add_transaction('a', 10, 'GRANT', 'k', external_id => 'x')",
        "add_transaction('a', 10, 'GRANT', 'k2', metadata => '{}')",
        "spend('a', 1)",
        "spend('a', 100, shortfall => 'PARTIAL')",
        "top_up('a', 1, 'p', is_active => false)",
        "grant_credits('a', 1)",
        "cancel_transaction('a', 'p')",
        "enable_transaction('a', 'p', 'late')",
        "get_credits('a')",
        "get_balance('a')",
        "check_credits('a', 1)",
        "get_transaction('a', 'k')",
        "balance_at('a', now())",
        "history('a')",
        "usage_by_reference('a')",
        "set_limits('a', -1)",
        "set_account_status('a', 'FROZEN')",
    ):
        assert len(application.execute(f"select * from pgledger.{call}").fetchall()) >= 1, call
    assert application.execute("select * from pgledger.verify()").fetchall() == []


def test_an_application_touches_no_table(db: Ledger, application: Ledger) -> None:
    tables = names(
        db,
        "select c.relname from pg_class c"
        " where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r'",
    )
    assert len(tables) >= 5
    for table in tables:
        for attempt in (
            f"select from pgledger.{table}",
            f"insert into pgledger.{table} default values",
            f"delete from pgledger.{table}",
            f"truncate pgledger.{table}",
            f"alter table pgledger.{table} disable trigger all",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute(attempt)


def test_an_application_calls_no_private_function(db: Ledger, application: Ledger) -> None:
    query = f"""
    select 'select pgledger.' || f.proname || '(' || coalesce(
      (select string_agg('null::' || format_type(t.type, null), ', ')
       from unnest(f.proargtypes) t (type)), '') || ')'
    from ({FUNCTIONS}) f
    where f.private and f.prorettype <> 'trigger'::regtype
    """
    calls = names(db, query)
    assert len(calls) > 30
    for call in calls:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute(call)


def test_who_may_not_use_the_schema_calls_nothing(connect_as_application: Ledger) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connect_as_application.execute("select pgledger.get_credits('a')")


def test_every_unique_rule_includes_the_account(db: Ledger) -> None:
    # What is there before its account is known, or for all accounts, is in tables of its own.
    query = """
    select i.indexrelid::regclass::text
    from pg_index i
    join pg_class c on c.oid = i.indrelid
    where c.relnamespace = 'pgledger'::regnamespace and (i.indisunique or i.indisexclusion)
      and c.relname not in (
        'currencies', 'plans', 'price_lists', 'prices',
        'account_identifiers', 'payment_events', 'payments', 'payment_returns')
      and not exists (
        select from pg_attribute a
        where a.attrelid = i.indrelid and a.attname = 'account_id'
          and a.attnum = any (i.indkey::smallint[]))
    """
    assert names(db, query) == []


def test_every_table_has_a_primary_key(db: Ledger) -> None:
    query = """
    select c.relname
    from pg_class c
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r'
      and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
    """
    assert names(db, query) == []


def test_nothing_is_counted_for_all_accounts(db: Ledger) -> None:
    query = """
    select c.relname from pg_class c
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'S'
    union all
    select a.attrelid::regclass::text || '.' || a.attname
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'pgledger'::regnamespace
      and (a.attidentity <> '' or a.attgenerated <> '')
    """
    assert names(db, query) == []


def test_a_posting_pays_for_no_foreign_key(db: Ledger) -> None:
    query = """
    select o.conname from pg_constraint o
    where o.contype = 'f' and o.conrelid in (
      'pgledger.transactions'::regclass, 'pgledger.balances'::regclass,
      'pgledger.pending_transactions'::regclass)
    """
    assert names(db, query) == []


def test_the_hot_row_has_room_and_one_index(db: Ledger) -> None:
    query = """
    select i.indexrelid::regclass::text from pg_index i
    where i.indrelid = 'pgledger.balances'::regclass
    """
    assert names(db, query) == ["pgledger.balances_pkey"]
    (options,) = db.execute(
        "select reloptions from pg_class where oid = 'pgledger.balances'::regclass"
    ).fetchall()
    settings = dict(option.split("=") for option in options["reloptions"])
    assert int(settings["fillfactor"]) <= 70


def test_the_append_only_guards_are_the_only_triggers(db: Ledger) -> None:
    query = """
    select t.tgrelid::regclass::text || ' ' || t.tgname || ' ' || t.tgenabled::text
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'pgledger'::regnamespace and not t.tgisinternal
    union all
    select 'rule ' || r.rulename from pg_rewrite r join pg_class c on c.oid = r.ev_class
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind <> 'v'
    order by 1
    """
    assert names(db, query) == [
        "pgledger.audit_log audit_log_append_only A",
        "pgledger.transactions transactions_append_only A",
    ]


def test_no_rule_of_a_table_depends_on_the_locale(db: Ledger) -> None:
    query = """
    select o.conname from pg_constraint o
    where o.connamespace = 'pgledger'::regnamespace
      and pg_get_constraintdef(o.oid) ~ '\\[:|\\\\w|\\\\s|lower|upper'
    """
    assert names(db, query) == []


def test_constraints_are_named_after_their_table(db: Ledger) -> None:
    query = """
    select o.conname from pg_constraint o join pg_class c on c.oid = o.conrelid
    where o.connamespace = 'pgledger'::regnamespace and o.contype <> 'n'
      and not starts_with(o.conname, c.relname || '_')
    """
    assert names(db, query) == []


def test_times_and_amounts_have_one_type(db: Ledger) -> None:
    query = """
    select a.attrelid::regclass::text || '.' || a.attname
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'pgledger'::regnamespace and a.attnum > 0 and c.relkind in ('r', 'c')
      and (
        (a.attname ~ '(_at|^valid_from|^valid_until)$') <> (a.atttypid = 'timestamptz'::regtype)
        or a.attname ~ '(amount|balance|held|floor|seq)$' and a.atttypid <> 'bigint'::regtype
        or (a.atttypid = 'numeric'::regtype) <> (a.attname in ('credits_per_unit', 'exact'))
        or a.atttypid in ('float8'::regtype, 'float4'::regtype,
          'money'::regtype, 'json'::regtype, 'varchar'::regtype, 'timestamp'::regtype))
    """
    assert names(db, query) == []


def test_the_manifest_lists_every_file_once() -> None:
    listed = migrate.manifest()
    assert sorted(listed) == [file for file in FILES if file.name != "install.sql"]


@pytest.mark.parametrize("file", FUNCTION_FILES, ids=lambda file: file.stem)
def test_a_file_is_one_function_with_its_comment_and_revoke(file: Path) -> None:
    text = file.read_text()
    made = re.findall(r"^create or replace function pgledger\.(\w+)\(", text, re.MULTILINE)
    assert made == [file.stem]
    assert (
        len(re.findall(rf"^comment on function\s+pgledger\.{file.stem}\(", text, re.MULTILINE)) == 1
    )
    assert (
        len(re.findall(rf"^revoke all on function\s+pgledger\.{file.stem}\(", text, re.MULTILINE))
        == 1
    )
    assert re.search(r"\bfrom public;\n\Z", text)
    body = text[text.index("create or replace") : text.index("comment on function")]
    assert body.rstrip().count("\n") < 70


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_sql_reads_as_agreed(file: Path) -> None:
    text = file.read_text()
    statements = STATEMENTS[file]
    # yoyo hands statements to psycopg, where a percent sign may begin a placeholder.
    assert "%" not in text
    assert "\t" not in text
    assert text.endswith("\n")
    assert not [line for line in text.splitlines() if len(line) > 100 or line != line.rstrip()]
    assert not re.search(r"\bselect \*", statements)
    assert not re.search(r"\bon conflict do\b", statements), "name the conflict target"
    assert not re.search(r"\b(serial|bigserial|identity|strict as|variadic)\b", statements)
    assert not re.search(r"\b(advisory|set_config|current_setting|nextval)\b", statements)
    assert not re.search(r"\b(now\(\)|current_timestamp|transaction_timestamp)", statements)
    for keyword in ("SELECT", "INSERT", "UPDATE", "WHERE", "BEGIN", "RETURNS"):
        assert not re.search(rf"^\s*{keyword}\b", statements, re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_updates_and_deletes_are_of_one_account_code_or_payment_and_compute_nothing_volatile(
    file: Path,
) -> None:
    changes = r"^\s*((?:update|delete from) pgledger\.\w+ .*?;)"
    for written in re.findall(changes, STATEMENTS[file], re.MULTILINE | re.DOTALL):
        assert re.search(r"where \w+\.(account_id|code|provider) = ", written), written
        assert not re.search(r"clock_timestamp|gen_random_uuid|statement_timestamp", written)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_everything_is_qualified(file: Path) -> None:
    tables = (
        "accounts|auto_top_ups|balances|currencies|events|(?:pending_)?transactions"
        "|prices|price_lists"
    )
    statements = re.sub(r"'[^']*'", "''", STATEMENTS[file])
    unqualified = rf"\b(?:from|join|into|update|table|on|references) (?:{tables})\b"
    assert not re.search(unqualified, statements)
    enums = "transaction_type|account_status|pending_status|posting|_request"
    assert not re.search(rf"(?:::|returns |setof )(?:{enums})\b", statements)

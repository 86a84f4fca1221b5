"""The commands about prices, and usage that is charged by its price."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.rows import DictRow

from pgledger import PriceList, UnitPrice, UsagePrice
from pgledger.cli import cli
from tests.cli_tools import Run, error, failed, on_terminal, program, runner

MODELS = {
    "sample_spec": {"input_cost_per_token": 0.0},
    "acme/large": {
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-07,
        "input_cost_per_token_above_200k_tokens": 2.5e-06,
        "off_peak_pricing": {"input_cost_per_token": 1e-06, "windows": []},
        "supports_vision": True,
    },
    "acme/painter": {"output_cost_per_image": 0.04, "mode": "image_generation"},
    "acme/noisy": {"input_cost_per_token": 2.0000000000000002e-07, "output_cost_per_token": 0},
    "acme/ranged": {"tiered_pricing": [{"input_cost_per_token": 1e-06, "range": [0, 1000]}]},
    "other/free": {"input_cost_per_token": 0.0, "output_cost_per_token": 0},
    "other/unknown": {"mode": "chat"},
}
TERMS = "at $1 = 1,000 credits, no markup\n"
SUMMARY = """\
3 priced, 1 of them in part; 3 not priced
not priced:
      1 tiered_pricing: prices by ranges of size
      1 no price in the file
      1 every price is 0 (--free takes them)
left out of what is priced in part:
      1 off_peak_pricing: prices by the hour of the day
to know:
      1 cost more above a size; units such as input_token_above_200k_tokens
      1 have units that cost nothing
      1 have prices of more than 15 digits (--digits 12 rounds them)
"""
DIFFERENCE = """\
what     code          unit                               was  becomes
added    acme/new      output_second                               100
changed  acme/large    input_token                    0.00125   0.0015
changed  acme/large    input_token_above_200k_tokens   0.0025
changed  acme/large    input_token_batch                         0.001
gone     acme/painter  output_image                        40
at $1 = 1,000 credits, no markup
1 would be added, 1 would be changed; 1 the same already
1 gone from the file, still sold; to end: --end-gone
"""


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., str]:
    """Write a file of models, the usual ones with changes: None takes one away."""

    def write(changes: dict[str, Any] | None = None) -> str:
        made = {**MODELS, **(changes or {})}
        path = tmp_path / "models.json"
        path.write_text(json.dumps({name: made[name] for name in made if made[name] is not None}))
        return str(path)

    return write


def load(run: Run, file: str, *more: str) -> str:
    result = run("prices", "import", file, "--credits-per-dollar", "1000", *more)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def listed(run: Run, *words: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in json.loads(run("prices", "list", *words, "--json").stdout):
        found.setdefault(row["code"], {})[row["unit"]] = row["credits_per_unit"]
    return found


def without_instants(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<instant>", text)
    return re.sub(r"20[0-3]\d-\d\d-\d\d \d\d:\d\d:\d\d", "<instant>", text)


def names_of(record: type[Any]) -> set[str]:
    return {field.name for field in fields(record)}


def test_prices_are_set_shown_and_listed(run: Run) -> None:
    told = run("prices", "set", "gpt", "output_token=0.012", "input_token=1.50e-3")
    assert without_instants(told.stdout) == (
        "gpt from <instant> on; the sum is rounded up\n"
        "unit          credits each\n"
        "input_token         0.0015\n"
        "output_token         0.012\n"
    )
    assert run("prices", "show", "gpt").stdout == told.stdout
    again = run("prices", "set", "gpt", "output_token=0.012", "input_token=0.0015")
    assert again.stdout == f"nothing changed: these prices hold already\n{told.stdout}"
    run("prices", "set", "export", "page=2", "--rounding", "floor")
    assert without_instants(run("prices", "list").stdout) == (
        "code    unit          credits  from (UTC)\n"
        "export  page                2  <instant>\n"
        "gpt     input_token    0.0015  <instant>\n"
        "gpt     output_token    0.012  <instant>\n"
        "credits in minor units\n"
    )
    assert set(listed(run, "gpt")) == {"gpt"}
    assert set(listed(run, "--only", "e*", "--only", "x")) == {"export"}
    assert "rounded down" in run("prices", "show", "export").stdout


def test_what_is_not_sold_is_told(run: Run) -> None:
    assert run("prices", "list").stdout == "no prices\n"
    assert json.loads(run("prices", "list", "--json").stdout) == []
    for words in (("show", "x"), ("show", "x", "--quantity", "page=1"), ("end", "x")):
        assert failed(run("prices", *words), 1).startswith(
            "error: price not found: x is not sold\n"
        )
        assert error(run("prices", *words, "--json"), 1)["sqlstate"] == "LG011"
    run("prices", "set", "x", "page=1", "image=2")
    told = failed(run("prices", "show", "x", "--quantity", "pages=1"), 1)
    assert told.startswith("error: price not found: x has no pages; it has image, page\n")
    run("prices", "set", "x", *(f"unit_{number:02}=1" for number in range(12)))
    told = failed(run("prices", "show", "x", "--quantity", "pages=1"), 1)
    assert "it has 12 units, such as unit_00, unit_01, unit_02\n" in told
    told = failed(run("prices", "show", "x", "--quantity", "unit_7=1"), 1)
    assert "it has 12 units, such as unit_07, " in told


@pytest.mark.parametrize(
    "words",
    [
        "prices show gpt4o",
        "prices show gpt4o --quantity input_token=1",
        "prices end gpt4o",
        "spend u1 --usage gpt4o --quantity input_token=1",
        "hold u1 --usage gpt4o --quantity input_token=1",
    ],
)
def test_an_unknown_code_comes_with_those_most_like_it(run: Run, words: str) -> None:
    told = failed(run(*words.split()), 1)
    assert told.endswith(
        "\nhint: See pgledger prices list, or set prices with pgledger prices set.\n"
    )
    for code in ("gpt-4o", "acme/GPT4o", "gpt-4o-mini", "claude", "gpt-4o-gone"):
        run("prices", "set", code, "input_token=1", "output_token=1")
    run("prices", "end", "gpt-4o-gone")
    run("top-up", "u1", "100")
    told = failed(run(*words.split()), 1)
    assert told == (
        "error: price not found: gpt4o is not sold\n"
        "hint: Did you mean acme/GPT4o, gpt-4o or gpt-4o-mini? See pgledger prices list.\n"
    )
    assert error(run(*words.split(), "--json"), 1)["hint"].startswith("Did you mean acme/GPT4o, ")


def test_codes_to_come_are_meant_only_then(run: Run) -> None:
    run("prices", "set", "large", "page=1", "--valid-from", "2999-01-01T00:00Z")
    words = ["prices", "show", "larg"]
    assert "Did you mean" not in failed(run(*words), 1)
    told = failed(run(*words, "--at", "2999-01-02T00:00Z"), 1)
    assert "hint: Did you mean large? See pgledger prices list." in told


def test_an_unknown_unit_says_where_the_units_are(sold: Run) -> None:
    for words in ("prices show gpt", "spend u1 --usage gpt"):
        told = failed(sold(*words.split(), "--quantity", "input=1"), 1)
        assert told == (
            "error: price not found: gpt has no input; it has input_token, output_token\n"
            "hint: See pgledger prices show gpt.\n"
        )


def test_a_list_of_nothing_says_what_may_have_been_meant(run: Run) -> None:
    run("prices", "set", "gpt-4o", "page=1")
    for word, told in (
        ("gpt-4*", "patterns go with --only: pgledger prices list --only 'gpt-4*'"),
        ("gpt4o", "Did you mean gpt-4o?"),
    ):
        result = run("prices", "list", word)
        assert (result.exit_code, result.stdout) == (0, f"no prices of {word}\n")
        assert told in result.stderr
        result = run("prices", "list", word, "--json")
        assert (json.loads(result.stdout), result.stderr) == ([], "")
    assert run("prices", "list", "zzz").stderr == ""
    assert run("prices", "list", "--only", "z").output == "no prices\n"


def test_a_cost_is_shown_unit_by_unit_and_rounded_once(run: Run) -> None:
    run("prices", "set", "gpt", "input_token=0.0015", "output_token=0.012")
    words = ["prices", "show", "gpt", "--quantity", "output_token=350"]
    words += ["--quantity", "input_token=1200"]
    assert without_instants(run(*words).stdout) == (
        "gpt costs 6, by the prices of <instant>\n"
        "unit          quantity  credits each  credits\n"
        "input_token       1200        0.0015      1.8\n"
        "output_token       350         0.012      4.2\n"
        "sum                                         6\n"
    )
    told = run("prices", "show", "gpt", "--quantity", "input_token=0.5").stdout
    assert told.endswith("0.00075\n0.00075 is rounded up to 1\n")
    shown = json.loads(run(*words, "--json").stdout)
    assert (shown["cost"], shown["exact"]) == (6, "6")
    assert shown["breakdown"]["input_token"] == {
        "quantity": "1200",
        "credits_per_unit": "0.0015",
        "credits": "1.8",
    }


def test_prices_may_change_later_and_end(run: Run) -> None:
    run("prices", "set", "p", "page=1")
    told = run("prices", "set", "p", "page=2", "--valid-from", "2999-01-01T01:00+01:00").stdout
    assert told.startswith("p from 2999-01-01T00:00:00Z on; ")
    assert listed(run) == {"p": {"page": "1"}}
    assert listed(run, "--at", "2999-01-01T00:00Z") == {"p": {"page": "2"}}
    assert "2999-01-01 00:00:00\n" in run("prices", "list").stdout
    told = run("prices", "show", "p", "--quantity", "page=3", "--at", "2999-01-01T00:00Z").stdout
    assert told.startswith("p costs 6, by the prices of 2999-01-01T00:00:00Z\n")
    told = run("prices", "end", "p", "--valid-from", "2999-01-02T00:00Z").stdout
    assert told == "p is not sold from 2999-01-02T00:00:00Z on\n"
    assert run("prices", "end", "p").exit_code == 0
    assert listed(run) == {}
    assert listed(run, "--past") == {"p": {"page": "1"}}
    assert "is not sold\n" in failed(run("prices", "show", "p"), 1)
    told = failed(run("prices", "set", "p", "page=3", "--valid-from", "2001-01-01T00:00Z"), 2)
    assert "from an instant to come" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("set p", "Missing argument 'UNIT=CREDITS...'"),
        ("set p page", "'page' is not a unit, =, and a number"),
        ("set p =1", "'=1' is not a unit, =, and a number"),
        ("set p page=", "page: '' is not a number of 0 or more"),
        ("set p page=-1", "page: '-1' is not a number of 0 or more"),
        ("set p page=x", "page: 'x' is not a number of 0 or more"),
        ("set p page=1 page=2", "page is given twice"),
        ("set p page=1 --rounding up", "'up' is not one of"),
        ("show p --quantity page", "'page' is not a unit, =, and a number"),
        ("show p --quantity a=1 --quantity a=1", "a is given twice"),
        ("import nowhere.json", "No such file"),
        ("import - --credits-per-dollar 0", "0 is not above 0"),
        ("import - --credits-per-dollar x", "'x' is not a number of 0 or more"),
        ("import - --markup 0.3", "0.3 is below 1, which is less than FILE says: 30% is"),
        (
            "import - --markup 30",
            "30 would be 30 times what FILE says: write 30% for so much on top, or 2900% if",
        ),
        ("diff - --markup 10.5", "write 10.5% for so much on top, or 950% if you mean 10.5 times"),
        ("import - --markup x%", "'x' is not a number of 0 or more"),
        ("import - --digits 0", "0 is not in the range"),
        ("import -", "<stdin>: the file is empty"),
    ],
)
def test_what_cannot_be_understood_is_told(run: Run, words: str, told: str) -> None:
    assert told in failed(run("prices", *words.split()), 2)
    assert told in error(run("prices", *words.split(), "--json"), 2)["message"]


def test_an_import_says_what_it_did_and_what_it_could_not(
    run: Run, models: Callable[..., str]
) -> None:
    file = models()
    assert load(run, file, "--dry-run") == f"{SUMMARY}{TERMS}3 would be added\n"
    assert listed(run) == {}
    assert load(run, file, "--markup", "30%") == (
        f"{SUMMARY}at $1 = 1,000 credits, +30%\n3 added\n"
    )
    assert listed(run) == {
        "acme/large": {
            "input_token": "0.001625",
            "output_token": "0.013",
            "cache_read_input_token": "0.0001625",
            "input_token_above_200k_tokens": "0.00325",
        },
        "acme/painter": {"output_image": "52"},
        "acme/noisy": {"input_token": "0.000260000000000000026", "output_token": "0"},
    }
    assert json.loads(run("prices", "list", "acme/painter", "--json").stdout)[0]["metadata"] == {
        "imported": "litellm",
        "credits_per_dollar": "1000",
        "markup": "1.3",
    }


def test_a_markup_is_a_percentage_or_a_small_factor(run: Run, models: Callable[..., str]) -> None:
    words = ["prices", "diff", models(), "--credits-per-dollar", "1e6", "--only", "acme/p*"]
    for markup, told in (("1.305", "+30.5%"), ("10", "+900%"), ("2900%", "+2900%")):
        shown = run(*words, "--markup", markup).stdout
        assert shown.endswith(f"\nat $1 = 1,000,000 credits, {told}\n1 would be added\n")


def test_a_second_import_changes_nothing_and_says_so(
    run: Run, models: Callable[..., str], db: psycopg.Connection[DictRow]
) -> None:
    file = models()
    load(run, file)
    before = db.execute("select * from pgledger.price_lists order by code").fetchall()
    assert load(run, file) == f"{SUMMARY}{TERMS}nothing changed: 3 the same already\n"
    told = load(run, file, "--markup", "1")
    assert told.endswith("\nnothing changed: 3 the same already\n")
    assert db.execute("select * from pgledger.price_lists order by code").fetchall() == before


def test_each_model_can_be_named(run: Run, models: Callable[..., str]) -> None:
    told = load(run, models(), "--names", "--dry-run")
    assert (
        "      1 no price in the file\n"
        "          other/unknown\n"
        "      1 every price is 0 (--free takes them)\n"
        "          other/free\n"
        "left out of what is priced in part:\n"
        "      1 off_peak_pricing: prices by the hour of the day\n"
        "          acme/large\n"
    ) in told


def test_options_choose_what_is_imported(run: Run, models: Callable[..., str]) -> None:
    told = load(run, models(), "--only", "other/*", "--free")
    assert told == (
        f"1 priced; 1 not priced\nnot priced:\n      1 no price in the file\n{TERMS}1 added\n"
    )
    assert listed(run) == {"other/free": {"input_token": "0", "output_token": "0"}}
    load(run, models(), "--only", "acme/n*", "--digits", "12", "--rounding", "half_even")
    assert listed(run, "acme/noisy") == {
        "acme/noisy": {"input_token": "0.0002", "output_token": "0"}
    }
    assert "to the nearest" in run("prices", "show", "acme/noisy").stdout
    words = ["prices", "import", models(), "--credits-per-dollar", "9", "--only", "z"]
    assert "has nothing to price, of what is asked for" in failed(run(*words), 2)
    assert "its prices are in dollars: say with --credits-per-dollar" in failed(
        run("prices", "import", models()), 2
    )


def test_a_difference_shows_each_unit_before_and_after(
    run: Run, models: Callable[..., str]
) -> None:
    load(run, models())
    words = ["prices", "diff", "--credits-per-dollar", "1000"]
    assert run(*words, models()).stdout == f"{TERMS}nothing would change: 3 the same already\n"
    file = models(
        {
            "acme/large": {
                "input_cost_per_token": 1.5e-06,
                "output_cost_per_token": 1e-05,
                "cache_read_input_token_cost": 1.25e-07,
                "input_cost_per_token_batches": 1e-06,
            },
            "acme/painter": None,
            "acme/new": {"output_cost_per_second": 0.1},
        }
    )
    assert run(*words, file).stdout == DIFFERENCE
    told = json.loads(run(*words, file, "--json").stdout)
    assert told["added"] == [{"code": "acme/new", "prices": {"output_second": "100"}}]
    assert told["gone"] == [{"code": "acme/painter", "prices": {"output_image": "40"}}]
    (changed,) = told["changed"]
    assert changed["rounding_was"] is None
    assert changed["units"][0] == {"unit": "input_token", "was": "0.00125", "becomes": "0.0015"}
    assert load(run, file).endswith(
        "1 added, 1 changed; 1 the same already\n"
        "1 gone from the file, still sold; to end: --end-gone\n"
    )
    assert listed(run, "acme/large")["acme/large"] == {
        "input_token": "0.0015",
        "output_token": "0.01",
        "cache_read_input_token": "0.000125",
        "input_token_batch": "0.001",
    }
    assert "acme/painter" in listed(run)
    assert load(run, file, "--end-gone", "--dry-run").endswith(
        "1 would be ended; 3 the same already\n"
    )
    assert load(run, file, "--end-gone").endswith("\n1 ended; 3 the same already\n")
    assert "acme/painter" not in listed(run)
    assert load(run, file, "--end-gone").endswith("\nnothing changed: 3 the same already\n")


def test_on_a_terminal_codes_stand_above_their_units(
    run: Run, models: Callable[..., str], database_url: str
) -> None:
    load(run, models(), "--only", "acme/large")
    assert without_instants(on_terminal(database_url, "prices", "list")) == (
        "acme/large\n"
        "  from <instant> UTC\n"
        "    cache_read_input_token         0.000125\n"
        "    input_token                     0.00125\n"
        "    input_token_above_200k_tokens    0.0025\n"
        "    output_token                       0.01\n"
        "credits in minor units\n"
    )
    file = models(
        {
            "acme/large": {
                "input_cost_per_token": 1.5e-06,
                "output_cost_per_token": 1e-05,
                "cache_read_input_token_cost": 1.25e-07,
                "output_cost_per_token_batches": 1e-05,
            }
        }
    )
    words = ["prices", "diff", file, "--credits-per-dollar", "1000", "--only", "acme/[lp]*"]
    assert on_terminal(database_url, *words) == (
        "added acme/painter\n"
        "    output_image      40\n"
        "changed acme/large\n"
        "    input_token                    0.00125  ->  0.0015\n"
        "    input_token_above_200k_tokens   0.0025\n"
        "    output_token_batch                          0.01\n"
        f"{TERMS}1 would be added, 1 would be changed\n"
    )


def test_another_rounding_is_a_difference(run: Run, models: Callable[..., str]) -> None:
    load(run, models(), "--only", "acme/p*")
    words = ["prices", "diff", "--credits-per-dollar", "1000", "--rounding", "floor"]
    told = run(*words, models(), "--only", "acme/p*").stdout
    assert re.search(r"^changed +acme/painter +\(rounding\) +CEIL +FLOOR$", told, re.MULTILINE)
    load(run, models(), "--only", "acme/p*", "--rounding", "floor")
    assert "rounded down" in run("prices", "show", "acme/painter").stdout


def test_what_was_set_or_ended_by_hand_outlives_an_import(
    run: Run, models: Callable[..., str]
) -> None:
    load(run, models())
    run("prices", "set", "acme/painter", "output_image=99")
    run("prices", "end", "acme/noisy")
    told = load(run, models())
    assert told.endswith(
        "nothing changed: 1 the same already\n2 kept, set by other means; to change: --overwrite\n"
    )
    told = run("prices", "diff", "--credits-per-dollar", "1000", models()).stdout
    assert re.search(r"^kept +acme/painter +output_image +99 +40$", told, re.MULTILINE)
    assert listed(run, "acme/painter") == {"acme/painter": {"output_image": "99"}}
    assert listed(run, "acme/noisy") == {}
    assert load(run, models(), "--overwrite").endswith("1 added, 1 changed; 1 the same already\n")
    assert listed(run, "acme/painter") == {"acme/painter": {"output_image": "40"}}


def test_an_import_may_come_into_force_later(run: Run, models: Callable[..., str]) -> None:
    later = ("--valid-from", "2999-01-01T00:00Z")
    assert load(run, models(), *later).endswith("\n3 added\n")
    assert listed(run) == {}
    assert len(listed(run, "--at", "2999-01-01T00:00Z")) == 3
    assert load(run, models(), *later).endswith("\nnothing changed: 3 the same already\n")
    words = ["prices", "import", models(), "--credits-per-dollar", "1000"]
    told = failed(run(*words, "--valid-from", "2001-01-01T00:00Z"), 2)
    assert told.startswith("error: invalid valid_from: ")


def test_prices_that_are_to_come_are_told(run: Run, models: Callable[..., str]) -> None:
    told = "have other prices to come: see pgledger prices list --at\n"
    run("prices", "set", "acme/painter", "output_image=99", "--valid-from", "2999-01-01T00:00Z")
    assert load(run, models()).endswith(f"\n3 added\n1 {told}")
    run("prices", "end", "acme/noisy", "--valid-from", "2999-01-01T00:00Z")
    assert load(run, models()).endswith(f"\nnothing changed: 3 the same already\n2 {told}")
    assert json.loads(load(run, models(), "--json"))["followed"] == ["acme/painter", "acme/noisy"]
    later = ("--valid-from", "2999-01-02T00:00Z")
    assert told not in load(run, models(), *later)


def test_an_import_is_all_or_nothing(
    run: Run, models: Callable[..., str], db: psycopg.Connection[DictRow]
) -> None:
    db.execute("alter table pgledger.prices add constraint no_painting check (unit !~ 'image')")
    result = run("prices", "import", models(), "--credits-per-dollar", "1000")
    assert 'violates check constraint "no_painting"' in failed(result, 3)
    assert listed(run) == {}


def test_a_sheet_is_imported_from_a_pipe(run: Run, database_url: str) -> None:
    sheet = "code,unit,credits_per_unit,usd_per_unit\nexport,page,0.5,\nexport,image,,0.01\n"
    words = ["prices", "import", "-", "--credits-per-dollar", "100"]
    told = program("--database-url", database_url, *words, input=sheet)
    assert (told.returncode, told.stdout, told.stderr) == (
        *(0, "1 priced\nat $1 = 100 credits, no markup\n1 added\n", ""),
    )
    assert listed(run) == {"export": {"page": "0.5", "image": "1"}}
    result = CliRunner().invoke(cli, ["prices", "import", "-"], input="code,unit\n")
    assert "<stdin>: neither litellm's JSON nor a CSV" in failed(result, 2)
    own = "code,unit,credits_per_unit\nexport,page,0.5\n"
    result = CliRunner().invoke(cli, ["prices", "import", "-"], input=own)
    assert result.stdout == "1 priced\n1 changed\n"
    result = CliRunner().invoke(cli, ["prices", "import", "-"], input=f"{own}export,page,x\n")
    assert failed(result, 2).startswith("error: <stdin>: line 3: 'x' is not a number of 0 or more")


def test_an_import_as_json_tells_all(run: Run, models: Callable[..., str]) -> None:
    told = json.loads(load(run, models(), "--json"))
    assert {name: told[name] for name in ("format", "credits_per_dollar", "markup", "priced")} == {
        "format": "litellm",
        "credits_per_dollar": "1000",
        "markup": "1",
        "priced": 3,
    }
    assert told["partly"] == [
        {
            "code": "acme/large",
            "left_out": [{"field": "off_peak_pricing", "reason": "prices by the hour of the day"}],
        }
    ]
    assert {row["code"]: row["reason"] for row in told["unpriced"]} == {
        "acme/ranged": "tiered_pricing: prices by ranges of size",
        "other/free": "every price is 0",
        "other/unknown": "no price in the file",
    }
    assert (told["by_size"], told["long"]) == (["acme/large"], ["acme/noisy"])
    assert [row["code"] for row in told["added"]] == ["acme/large", "acme/painter", "acme/noisy"]
    assert (told["changed"], told["kept"], told["gone"], told["same"]) == ([], [], [], 0)
    assert (told["dry_run"], told["ended"]) == (False, False)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("set q page=1", names_of(PriceList)),
        ("end p", names_of(PriceList)),
        ("list", names_of(UnitPrice)),
        ("show p", names_of(UnitPrice)),
        ("show p --quantity page=1", names_of(UsagePrice)),
    ],
)
def test_each_answer_as_json_is_a_record(run: Run, words: str, names: set[str]) -> None:
    run("prices", "set", "p", "page=1")
    told = json.loads(run("prices", *words.split(), "--json").stdout)
    assert set(told[0] if isinstance(told, list) else told) == names


# Usage


@pytest.fixture
def sold(run: Run) -> Run:
    """A code with prices, and an account with 100 credits."""
    run("prices", "set", "gpt", "input_token=0.0015", "output_token=0.012")
    run("top-up", "u1", "100")
    return run


def usage(*quantities: str) -> list[str]:
    return [word for quantity in quantities for word in ("--quantity", quantity)]


def test_a_usage_is_spent_by_its_price(sold: Run) -> None:
    words = ["spend", "u1", "--usage", "gpt", "--key", "k", "--reference", "chat"]
    words += usage("input_token=1200", "output_token=350")
    assert sold(*words).stdout == (
        "spent 6 CREDIT from u1\n"
        "available 94 CREDIT; seq 2, key k\n"
        "for 1200 input_token, 350 output_token of gpt\n"
    )
    told = without_instants(sold("explain", "u1", "k").stdout)
    assert told == (
        "USAGE -6 CREDIT at <instant> UTC, key k\n"
        "gpt costs 6 CREDIT, by the prices of <instant>\n"
        "unit          quantity  credits each  credits\n"
        "input_token       1200        0.0015      1.8\n"
        "output_token       350         0.012      4.2\n"
        "sum                                         6\n"
        "amount  lot       why\n"
        "     6  the pool  the pool: priority 0, never expires\n"
    )
    explained = json.loads(sold("explain", "u1", "k", "--json").stdout)
    assert (explained["usage"]["code"], explained["usage"]["exact"]) == ("gpt", "6")
    assert explained["usage"]["breakdown"]["input_token"]["credits_per_unit"] == "0.0015"
    assert [draw["amount"] for draw in explained["draws"]] == [6]
    sold("prices", "set", "gpt", "input_token=9")
    assert "this is a repeat and changed nothing" in sold(*words).stdout
    (spent, _) = json.loads(sold("history", "u1", "--json").stdout)
    assert (spent["amount"], spent["reference"]) == (-6, "chat")
    assert spent["usage"]["breakdown"]["output_token"]["credits"] == "4.2"
    assert json.loads(sold(*words, "--json").stdout)["replayed"] is True
    told = failed(sold("spend", "u1", "--usage", "gpt", *usage("image=1")), 1)
    assert "gpt has no image; it has input_token" in told
    told = failed(sold("spend", "u1", "--usage", "gpt", *usage("input_token=100")), 1)
    assert "u1 has 94 available, 900 requested (806 missing)" in told


SPEND = "spend u1 --usage gpt --key k --quantity input_token="
HOLD = "hold u1 --usage gpt --key h --quantity output_token="


@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        (
            f"{SPEND}1200",
            f"{SPEND}1201",
            "amount -2 for 1200 input_token of gpt where amount -2 for 1201 input_token of gpt",
        ),
        (
            f"{SPEND}1200",
            f"{SPEND}0.5 --quantity output_token=1",
            "1200 input_token of gpt where amount -1 for 0.5 input_token, 1 output_token of gpt",
        ),
        (
            f"{SPEND}1200",
            f"{SPEND}1200 --quantity image=1",
            "1200 input_token of gpt where 1 image",
        ),
        ("spend u1 7 --key k", f"{SPEND}1200", "amount -7 where amount -2 for 1200 input_token"),
        (f"{SPEND}1200", "spend u1 7 --key k", "for 1200 input_token of gpt where amount -7 is"),
        (f"{SPEND}1200", "spend u1 2 --key k", "for 1200 input_token of gpt where amount -2 is"),
        (f"{HOLD}100", f"{HOLD}200", "amount -2 for 100 output_token of gpt where amount -3 for"),
        ("hold u1 9 --key h", f"{HOLD}100", "amount -9 where amount -2 for 100 output_token of"),
        (f"{HOLD}100", "hold u1 9 --key h", "for 100 output_token of gpt where amount -9 is"),
        (f"{HOLD}100", f"{SPEND.replace('input', 'output')}100 --key h", "recorded it as PENDING"),
    ],
)
def test_a_key_of_another_usage_is_refused_in_words(
    sold: Run, first: str, then: str, told: str
) -> None:
    assert sold(*first.split()).exit_code == 0
    assert told in failed(sold(*then.split()), 1)
    refusal = error(sold(*then.split(), "--json"), 1)
    assert refusal["sqlstate"] == "LG002"
    assert {"usage", "amount"} <= set(refusal["details"]["recorded"])


def test_a_capture_of_another_usage_is_refused_in_words(sold: Run) -> None:
    sold(*f"{HOLD}1000".split())
    words = ["capture", "u1", "h", *usage("output_token=1")]
    sold("capture", "u1", "h", *usage("output_token=500"))
    told = failed(sold(*words), 1)
    assert "u1 has recorded amount -6 for 500 output_token of gpt where " in told
    assert "1 output_token of gpt is given" in told
    assert error(sold(*words, "--json"), 1)["sqlstate"] == "LG002"


def test_a_plain_capture_after_one_of_a_usage_is_told_of_it(sold: Run) -> None:
    sold(*f"{HOLD}1000".split())
    sold("capture", "u1", "h", *usage("output_token=500"))
    for amount in ([], ["6"]):
        assert "this is a repeat" in sold("capture", "u1", "h", *amount).stdout
    told = failed(sold("capture", "u1", "h", "5"), 1)
    assert "amount -6 for 500 output_token of gpt where amount -5 is given\n" in told


def test_a_repeat_at_another_price_names_only_what_differs(sold: Run) -> None:
    later = ["--expires-at", "2999-01-01T00:00Z"]
    sold(*f"{HOLD}100".split(), *later)
    sold("prices", "set", "gpt", "output_token=9")
    told = failed(sold(*f"{HOLD}100".split(), "--expires-at", "2999-01-02T00:00Z"), 1)
    assert "u1 has recorded expires_at 2999-01-01" in told
    assert "amount" not in told


def test_a_usage_that_costs_nothing_is_recorded(sold: Run) -> None:
    told = sold("spend", "u1", "--usage", "gpt", "--key", "k", *usage("input_token=0"))
    assert told.stdout.startswith("spent 0 CREDIT from u1\navailable 100 CREDIT; seq 2, key k\n")
    assert "gpt costs 0 CREDIT, by the prices of" in sold("explain", "u1", "k").stdout


def test_a_usage_that_runs_short_may_be_partial(sold: Run) -> None:
    words = ["spend", "u1", "--usage", "gpt", *usage("output_token=10000")]
    assert sold(*words, "--shortfall", "partial").stdout.startswith(
        "spent 100 CREDIT of the 120 asked for from u1\n"
    )


def test_an_estimate_is_held_and_what_was_used_is_captured(sold: Run) -> None:
    told = sold("hold", "u1", "--usage", "gpt", "--key", "h", *usage("output_token=1000"))
    assert told.stdout == (
        "held 12 CREDIT of u1\n"
        "available 88 CREDIT; key h\n"
        "reserved without an end; then: pgledger capture u1 h\n"
        "for 1000 output_token of gpt\n"
    )
    told = sold("capture", "u1", "h", *usage("output_token=500"))
    assert told.stdout.startswith("captured 6 CREDIT from u1\navailable 94 CREDIT; ")


def test_a_use_beyond_its_hold_is_spent_too(sold: Run) -> None:
    for key in ("h", "i", "j"):
        sold("hold", "u1", "--usage", "gpt", "--key", key, *usage("output_token=1000"))
    told = sold("capture", "u1", "h", *usage("output_token=2000")).stdout
    assert told == (
        "captured 12 CREDIT of the 24 asked for from u1\n"
        "available 52 CREDIT; seq 2, key h\n"
        "beyond the hold: spent 12 CREDIT, key #excess-2\n"
    )
    words = ["capture", "u1", "i", *usage("output_token=10000")]
    assert "u1 has 52 available" in failed(sold(*words), 1)
    told = sold(*words, "--shortfall", "partial").stdout
    assert told.endswith("beyond the hold: spent 52 CREDIT, key #excess-4\n")
    told = sold("capture", "u1", "j", *usage("output_token=2000"), "--shortfall", "partial").stdout
    assert told.endswith("nothing was there for what it cost beyond the hold\n")


def test_a_hold_of_a_usage_that_cost_nothing_is_released(sold: Run) -> None:
    sold("hold", "u1", "--usage", "gpt", "--key", "h", *usage("output_token=1000"))
    told = sold("capture", "u1", "h", *usage("output_token=0")).stdout
    assert told.startswith("released ")
    assert json.loads(sold("balance", "u1", "--json").stdout)["available"] == 100


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("spend u1", "Missing argument 'AMOUNT', or --usage CODE with --quantity UNIT=NUMBER"),
        ("hold u1", "Missing argument 'AMOUNT', or --usage CODE with --quantity UNIT=NUMBER"),
        ("spend u1 5 --usage gpt --quantity a=1", "AMOUNT and --usage say the same"),
        ("hold u1 5 --usage gpt", "AMOUNT and --usage say the same"),
        ("spend u1 --usage gpt", "--usage needs --quantity"),
        ("hold u1 --quantity a=1", "--quantity needs --usage"),
        ("spend u1 5 --quantity a=1", "--quantity needs --usage"),
        ("spend u1 --usage gpt --quantity a=1 --quantity a=2", "a is given twice"),
        ("capture u1 h 5 --quantity a=1", "AMOUNT and --quantity say the same"),
        ("capture u1 h 5 --shortfall debt", "--shortfall is for --quantity"),
    ],
)
def test_an_amount_and_a_usage_are_one_or_the_other(sold: Run, words: str, told: str) -> None:
    assert told in failed(sold(*words.split()), 2)


def test_old_prices_are_still_shown_of_their_time(run: Run) -> None:
    run("prices", "set", "p", "page=1")
    run("prices", "set", "p", "page=2")
    assert listed(run) == {"p": {"page": "2"}}
    told = without_instants(run("prices", "list", "p", "--past").stdout)
    assert told == (
        "code  unit  credits  from (UTC)           until (UTC)\n"
        "p     page        2  <instant>\n"
        "p     page        1  <instant>  <instant>\n"
        "credits in minor units\n"
    )

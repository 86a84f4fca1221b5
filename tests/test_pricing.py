"""Prices from a file: exact, never guessed, and what is no price named with the reason."""

import json
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from pgledger import pricing
from pgledger.pricing import (
    Change,
    Charged,
    LeftOut,
    Offer,
    PriceFile,
    PricingError,
    Terms,
    compare,
    parse_number,
    read,
    unit_of_field,
)

THOUSAND = Terms(Decimal(1000))


def litellm(models: dict[str, Any], terms: Terms = THOUSAND, *, free: bool = False) -> PriceFile:
    return read(json.dumps(models).encode(), terms, free=free)


def prices(fields: dict[str, Any], terms: Terms = THOUSAND) -> dict[str, str]:
    return offered(litellm({"m": fields}, terms))["m"]


def sheet(text: str, terms: Terms = THOUSAND) -> PriceFile:
    return read(text.encode(), terms)


def offered(file: PriceFile) -> dict[str, dict[str, str]]:
    return {
        code: {unit: pricing.show(price) for unit, price in offer.prices.items()}
        for code, offer in file.offers.items()
    }


@pytest.mark.parametrize(
    ("field", "unit"),
    [
        ("input_cost_per_token", "input_token"),
        ("output_cost_per_token", "output_token"),
        ("output_cost_per_reasoning_token", "output_reasoning_token"),
        ("input_cost_per_audio_token", "input_audio_token"),
        ("output_cost_per_image_token", "output_image_token"),
        ("cache_read_input_token_cost", "cache_read_input_token"),
        ("cache_creation_input_token_cost", "cache_creation_input_token"),
        ("cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_above_1hr"),
        ("cache_read_input_audio_token_cost", "cache_read_input_audio_token"),
        ("input_cost_per_token_cache_hit", "input_token_cache_hit"),
        ("input_cost_per_token_batches", "input_token_batch"),
        ("output_cost_per_token_priority", "output_token_priority"),
        ("input_cost_per_token_above_200k_tokens", "input_token_above_200k_tokens"),
        (
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
            "cache_creation_input_token_above_1hr_above_200k_tokens",
        ),
        (
            "output_cost_per_token_above_272k_tokens_batches",
            "output_token_above_272k_tokens_batch",
        ),
        ("output_cost_per_image", "output_image"),
        ("output_cost_per_image_0.5K", "output_image_0.5K"),
        ("input_cost_per_pixel", "input_pixel"),
        ("input_cost_per_character", "input_character"),
        ("cost_per_second", "second"),
        ("output_cost_per_second", "output_second"),
        ("output_cost_per_second_1080p", "output_second_1080p"),
        ("input_cost_per_audio_per_second", "input_audio_second"),
        (
            "input_cost_per_video_per_second_above_15s_interval",
            "input_video_second_above_15s_interval",
        ),
        ("input_cost_per_query", "input_query"),
        ("input_cost_per_request", "input_request"),
        ("google_maps_grounding_cost_per_query", "google_maps_grounding_query"),
        ("ocr_cost_per_page", "ocr_page"),
        ("code_interpreter_cost_per_session", "code_interpreter_session"),
        ("vector_store_cost_per_gb_per_day", "vector_store_gb_day"),
        ("file_search_cost_per_1k_calls", "file_search_call"),
        ("computer_use_input_cost_per_1k_tokens", "computer_use_input_token"),
    ],
)
def test_a_unit_is_named_in_the_words_of_its_field(field: str, unit: str) -> None:
    assert unit_of_field(field) == unit


@pytest.mark.parametrize(
    "field",
    [
        "input_cost_per_token_tuesdays",
        "input_cost_per_1m_tokens",
        "input_cost_per_token_above_200k",
        "input_cost_per_token_720p",
        "input_dbu_cost_per_token",
        "input_cost_per_furlong",
        "total_cost",
        "cost",
        "max_input_tokens",
    ],
)
def test_a_field_whose_name_says_something_else_is_no_unit(field: str) -> None:
    assert unit_of_field(field) is None


def test_credits_are_exact_whatever_the_markup() -> None:
    terms = Terms(Decimal(1000), Decimal("1.3"))
    assert prices({"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05}, terms) == {
        "input_token": "0.001625",
        "output_token": "0.013",
    }
    assert prices(
        {
            "file_search_cost_per_1k_calls": 2.5,
            "search_context_cost_per_query": {
                "search_context_size_low": 0.01,
                "search_context_size_high": 0.035,
            },
        }
    ) == {
        "file_search_call": "2.5",
        "search_context_size_low_query": "10",
        "search_context_size_high_query": "35",
    }


def test_random_prices_are_what_fractions_make_of_them() -> None:
    chance = random.Random(5)  # noqa: S311 - to be repeated
    for _ in range(200):
        digits = chance.randrange(10**17)
        dollars = f"{digits}e-{chance.randint(6, 30)}"
        rate = Decimal(chance.randrange(1, 10**9)).scaleb(-chance.randint(0, 6))
        markup = Decimal(chance.randrange(1, 10**5)).scaleb(-4)
        content = f'{{"m": {{"input_cost_per_token": {dollars}}}}}'.encode()
        file = read(content, Terms(rate, markup), free=True)
        assert Fraction(file.offers["m"].prices["input_token"]) == (
            Fraction(Decimal(dollars)) * Fraction(rate) * Fraction(markup)
        )


def test_what_a_float_left_behind_is_kept_and_told_and_may_be_rounded_off() -> None:
    fields = {"input_cost_per_token": 2.0000000000000002e-07, "output_cost_per_token": 1e-06}
    kept = {"input_token": "0.00020000000000000002", "output_token": "0.001"}
    assert prices(fields) == kept
    assert litellm({"m": fields, "n": {"input_cost_per_token": 2e-07}}).noisy == ["m"]
    rounded = {"input_token": "0.0002", "output_token": "0.001"}
    terms = Terms(Decimal(1000), digits=12)
    assert prices(fields, terms) == rounded
    assert litellm({"m": fields}, terms).noisy == []


def test_what_is_no_price_of_a_unit_is_left_out_with_the_reason() -> None:
    (offer,) = litellm(
        {
            "m": {
                "input_cost_per_token": 1e-06,
                "litellm_provider": "p",
                "max_input_tokens": 1000,
                "supports_vision": True,
                "web_search_billing_unit": "per_query",
                "input_dbu_cost_per_token": 1e-05,
                "provider_specific_entry": {"us": 1.1},
                "off_peak_pricing": {"input_cost_per_token": 5e-07, "windows": []},
                "regional_endpoint_uplift_multiplier": 1.1,
                "search_free_requests": {"count": 5000, "period": "month"},
                "tiered_pricing": [{"input_cost_per_token": 1e-06, "range": [0, 1000]}],
                "guardrail_cost_per_unit": {"wordPolicyUnits": 0.1},
                "hand_waving_cost_per_hour": 3,
                "setup_fee": {"once": [7]},
                "output_dbu_cost_per_token": 1e-05,
            }
        }
    ).partly
    assert offer.left_out == (
        LeftOut("provider_specific_entry", pricing.FACTOR),
        LeftOut("off_peak_pricing", pricing.BY_TIME),
        LeftOut("regional_endpoint_uplift_multiplier", pricing.FACTOR),
        LeftOut("search_free_requests", pricing.ALLOWANCE),
        LeftOut("tiered_pricing", pricing.BY_SIZE),
        LeftOut("guardrail_cost_per_unit", pricing.TABLE),
        LeftOut("hand_waving_cost_per_hour", pricing.UNKNOWN),
        LeftOut("setup_fee", pricing.TABLE),
        LeftOut("output_dbu_cost_per_token", pricing.OTHER_MONEY),
    )
    assert set(offer.prices) == {"input_token"}
    assert pricing.count_reasons([offer])["setup_fee", pricing.TABLE] == ["m"]


def test_what_a_provider_says_of_itself_without_a_number_is_about_no_price() -> None:
    file = litellm(
        {
            "m": {
                "input_cost_per_image": 0.1,
                "provider_specific_entry": {"video_input": "first_frame"},
            }
        }
    )
    assert file.partly == []
    assert "m" in file.offers


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("-1e-06", pricing.NOT_A_NUMBER),
        ("NaN", pricing.NOT_A_NUMBER),
        ("Infinity", pricing.NOT_A_NUMBER),
        ('"0.1"', pricing.NOT_A_NUMBER),
        ("null", pricing.NOT_A_NUMBER),
        ("true", pricing.NOT_A_NUMBER),
        ("{}", pricing.NOT_A_NUMBER),
        ("1e40", pricing.OUT_OF_RANGE),
        ("1e999999999999999999999", pricing.NOT_A_NUMBER),
        ("1e-41", pricing.OUT_OF_RANGE),
        ("1e-999999", pricing.OUT_OF_RANGE),
    ],
)
def test_a_price_that_is_no_number_is_left_out(value: str, reason: str) -> None:
    content = f'{{"m": {{"input_cost_per_token": {value}, "output_cost_per_token": 1e-6}}}}'
    file = read(content.encode(), THOUSAND)
    assert offered(file) == {"m": {"output_token": "0.001"}}
    assert file.offers["m"].left_out == (LeftOut("input_cost_per_token", reason),)


def test_a_model_without_a_price_is_named_with_the_reason() -> None:
    file = litellm(
        {
            "sample_spec": {"input_cost_per_token": 0.0},
            "by ranges": {"tiered_pricing": [{"input_cost_per_token": 1e-06}]},
            "no price": {"mode": "chat"},
            "no number": {"input_cost_per_token": "much"},
            "free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0},
            "no object": 3,
            "a\nb": {"input_cost_per_token": 1e-06},
            "\ud800": {"input_cost_per_token": 1e-06},
            "": {"input_cost_per_token": 1e-06},
            "x" * 256: {"input_cost_per_token": 1e-06},
        }
    )
    assert file.offers == {}
    assert {row.code: row.reason for row in file.unpriced} == {
        "by ranges": f"tiered_pricing: {pricing.BY_SIZE}",
        "no price": pricing.NO_PRICE,
        "no number": f"input_cost_per_token: {pricing.NOT_A_NUMBER}",
        "free": pricing.FREE,
        "no object": pricing.NOT_AN_OBJECT,
        "a\nb": pricing.BAD_CODE,
        "\ud800": pricing.BAD_CODE,
        "": pricing.BAD_CODE,
        "x" * 256: pricing.BAD_CODE,
    }


def test_a_model_whose_prices_are_all_nought_is_sold_only_when_asked_for() -> None:
    free = {"input_cost_per_token": 0, "output_cost_per_token": 0.0}
    partly = {"input_cost_per_token": 1e-06, "output_cost_per_token": 0}
    file = litellm({"m": free, "n": partly})
    assert offered(file) == {"n": {"input_token": "0.001", "output_token": "0"}}
    assert file.free_units == ["n"]
    sold = offered(litellm({"m": free}, free=True))
    assert sold == {"m": {"input_token": "0", "output_token": "0"}}


def test_models_with_prices_by_the_size_of_a_request_are_named() -> None:
    once = {"input_cost_per_token": 1e-06}
    file = litellm(
        {
            "m": {**once, "input_cost_per_token_above_200k_tokens": 2e-06},
            "n": {**once, "cache_creation_input_token_cost_above_1hr": 2e-06},
        }
    )
    assert file.sized == ["m"]
    assert file.partly == []


def test_patterns_choose_codes_in_either_format() -> None:
    models = {name: {"input_cost_per_token": 1e-06} for name in ("a/x", "a/y", "b/x")}
    content = json.dumps({**models, "a/z": {}}).encode()
    file = read(content, THOUSAND, only=["a/*"])
    assert (list(file.offers), [row.code for row in file.unpriced]) == (["a/x", "a/y"], ["a/z"])
    file = read(content, THOUSAND, only=["a/y", "b/?"])
    assert list(file.offers) == ["a/y", "b/x"]
    content = b"code,unit,usd_per_unit\na/x,page,1\nb/x,page,1\n"
    assert list(read(content, THOUSAND, only=["b*"]).offers) == ["b/x"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"{", "not JSON: "),
        (b"[1]", "not a JSON object with one object for each model"),
        (b"[" * 100_000, "not JSON: "),
        (b'{"m": {}, "m": {}}', "'m' is there twice in one object"),
        (b'{"m": {"cost": 1, "cost": 2}}', "'cost' is there twice in one object"),
        (
            b"model,price\nm,1\n",
            "neither litellm's JSON nor a CSV with the columns code, unit, and ",
        ),
        (
            b"code,unit\nm,page\n",
            "neither litellm's JSON nor a CSV with the columns code, unit, and",
        ),
        (b"code,code,unit,usd_per_unit\n", "column code is there twice"),
        (b'code,unit,usd_per_unit\n"m,page,1\n', "not CSV: line 2: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told(content: bytes, told: str) -> None:
    with pytest.raises(PricingError) as caught:
        read(content, THOUSAND)
    assert str(caught.value).startswith(told)


def test_a_sheet_gives_prices_in_dollars_or_credits() -> None:
    file = sheet(
        "\ufeffcode, unit ,note,usd_per_unit,credits_per_unit\r\n"
        "m,page,x,0.002,\r\n\r\n"
        "m,image,,,40\r\n"
        '"n, too",seat,,,1e-3\r\n',
        Terms(Decimal(1000), Decimal("1.5")),
    )
    assert file.format == "csv"
    assert offered(file) == {"m": {"page": "3", "image": "40"}, "n, too": {"seat": "0.001"}}
    assert offered(sheet("code,unit,credits_per_unit\nm,page,0\n", Terms())) == {"m": {"page": "0"}}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("m,page", "line 2: 2 fields, where the header has more"),
        (",page,1,", "line 2: code is empty, "),
        ("m,,1,", "line 2: unit is empty, "),
        ("m,page,,", "line 2: no price is given: give one"),
        ("m,page,1,1", "line 2: both prices are given: give one"),
        ("m,page,-1,", "line 2: '-1' is not a number of 0 or more"),
        ("m,page,nan,", "line 2: 'nan' is not a number of 0 or more"),
        ("m,page,1_0,", "line 2: '1_0' is not a number of 0 or more"),
        ("m,page,.,", "line 2: '.' is not a number of 0 or more"),
        ("m,page,1e40,", "line 2: '1e40' is a number of more than 40 digits before or after"),
        ("m,page,1e39,", "line 2: the price in credits is a number of more than 40 digits"),
        ("m,page,1,\nm,page,2,", "line 3: page of m is there twice"),
    ],
)
def test_a_sheet_with_a_bad_row_is_not_read(row: str, told: str) -> None:
    with pytest.raises(PricingError) as caught:
        sheet(f"code,unit,usd_per_unit,credits_per_unit\n{row}\n")
    assert str(caught.value).startswith(told)


def test_a_sheet_with_many_bad_rows_names_the_first() -> None:
    with pytest.raises(PricingError, match=r"^line 2: .*; line 11: .*; and 5 more$"):
        sheet("code,unit,usd_per_unit\n" + "m,page,x\n" * 15)


def test_terms_must_fit_the_money_of_the_file() -> None:
    with pytest.raises(PricingError, match="its prices are in dollars: say with --credits-per"):
        litellm({"m": {"input_cost_per_token": 1e-06}}, Terms())
    with pytest.raises(PricingError, match="its prices are in dollars"):
        sheet("code,unit,usd_per_unit\nm,page,1\n", Terms(markup=Decimal(2)))
    for terms in (THOUSAND, Terms(markup=Decimal(2))):
        with pytest.raises(PricingError, match="its prices are in credits already"):
            sheet("code,unit,credits_per_unit\nm,page,1\n", terms)


@pytest.mark.parametrize(
    "text", ["", "-1", "1/2", "x", "1e", "0x1", "1 000", "inf", "٣", "1e99999"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of 0 or more"):
        parse_number(text)


def test_numbers_are_read_and_shown_without_an_exponent() -> None:
    shown = {
        text: pricing.show(parse_number(text)) for text in ("1e-7", " 1.50 ", "1E2", ".5", "0e9")
    }
    assert shown == {"1e-7": "0.0000001", " 1.50 ": "1.5", "1E2": "100", ".5": "0.5", "0e9": "0"}


def charged(rounding: str = "CEIL", imported: str | None = "csv", **units: str) -> Charged:
    return Charged(rounding, {unit: Decimal(price) for unit, price in units.items()}, imported)


def test_a_comparison_tells_what_is_new_other_the_same_and_gone() -> None:
    file = sheet(
        "code,unit,credits_per_unit\nnew,page,1\nsame,page,2\nother,page,3\nother,image,4\n"
        "round,page,5\n",
        Terms(),
    )
    found = compare(
        file,
        {
            "same": charged(page="2.00", imported=None),
            "other": charged(page="2.5", seat="1"),
            "round": charged(page="5", rounding="FLOOR"),
            "old": charged(page="1"),
            "by hand": charged(page="1", imported=None),
            "elsewhere": charged(page="1", imported="litellm"),
            "ended": charged(imported=None),
        },
        "CEIL",
    )
    assert found.added == [Offer("new", {"page": Decimal(1)})]
    assert found.changed == {
        "other": [
            Change("other", "page", Decimal("2.5"), Decimal(3)),
            Change("other", "seat", Decimal(1), None),
            Change("other", "image", None, Decimal(4)),
        ],
        "round": [],
    }
    assert found.rounding == {"round": "FLOOR"}
    assert (found.same, found.kept, list(found.gone)) == (1, {}, ["old"])
    assert found.to_set == ["new", "other", "round"]


def test_what_another_hand_set_or_ended_is_kept_unless_it_is_to_be_overwritten() -> None:
    file = sheet("code,unit,credits_per_unit\na,page,1\nb,page,2\nc,page,3\nd,page,4\n", Terms())
    now = {
        "a": charged(page="9", imported=None),
        "b": charged(page="2", imported="litellm", rounding="FLOOR"),
        "c": charged(imported=None),
        "d": charged(page="4", imported=None),
    }
    found = compare(file, now, "CEIL")
    assert found.kept == {
        "a": [Change("a", "page", Decimal(9), Decimal(1))],
        "b": [],
        "c": [Change("c", "page", None, Decimal(3))],
    }
    assert (found.to_set, found.same, found.rounding) == ([], 1, {"b": "FLOOR"})
    found = compare(file, now, "CEIL", overwrite=True)
    assert (found.kept, found.to_set, found.same) == ({}, ["c", "a", "b"], 1)
    assert found.rounding == {"b": "FLOOR"}


def test_only_what_was_asked_for_can_be_gone() -> None:
    file = read(b"code,unit,credits_per_unit\na1,page,1\n", Terms(), only=["a*"])
    old = {code: charged(page="1") for code in ("a1", "a2", "b1")}
    assert list(compare(file, old, "CEIL", only=["a*"]).gone) == ["a2"]
    assert list(compare(file, old, "CEIL").gone) == ["a2", "b1"]

"""What merchants paste into the connect form, and whether two addresses mean one shop."""

import pytest
from marshmallow import ValidationError

from hub_woocommerce.connector import WooCommerceConnector
from hub_woocommerce.settings import WooCommerceSettings, same_site

KEYS = {"consumer_key": "ck_1f0c6a4b2d", "consumer_secret": "cs_9e8d7c6b5a"}


@pytest.mark.parametrize(
    ("pasted", "site"),
    [
        ("https://shop.example", "https://shop.example"),
        ("shop.example", "https://shop.example"),
        ("  https://Shop.Example/  ", "https://shop.example"),
        ("https://shop.example:443/", "https://shop.example"),
        ("https://shop.example/wp-admin/admin.php?page=wc-settings&tab=advanced#top", "https://shop.example"),
        ("https://shop.example/wp-login.php", "https://shop.example"),
        ("https://shop.example/wp-json/wc/v3/orders", "https://shop.example"),
        ("https://shop.example//store//wp-admin", "https://shop.example/store"),
        ("shop.example/Store/", "https://shop.example/Store"),
        ("https://shop.example/wp-wool/", "https://shop.example/wp-wool"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://192.168.1.20:80/index.php", "http://192.168.1.20"),
        ("https://[::1]:8443/", "https://[::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_understands_the_address_as_people_paste_it(pasted: str, site: str) -> None:
    assert WooCommerceSettings().load({"site": pasted, **KEYS})["site"] == site


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "https://",
        "my shop",
        "ftp://shop.example",
        "https://shop.example:port",
        "https://me:pw@shop.example",
        "a@b.c",
    ],
)
def test_refuses_what_is_not_the_address_of_a_site(pasted: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WooCommerceSettings().load({"site": pasted, **KEYS})
    assert refused.value.messages == {"site": ["Not a web address. Enter it like https://shop.example."]}


def test_notices_when_key_and_secret_are_swapped() -> None:
    with pytest.raises(ValidationError) as refused:
        WooCommerceSettings().load(
            {"site": "shop.example", "consumer_key": KEYS["consumer_secret"], "consumer_secret": KEYS["consumer_key"]}
        )
    assert refused.value.messages == {
        "consumer_key": ["This is not a consumer key: WooCommerce's begin with “ck_”."],
        "consumer_secret": ["This is not a consumer secret: WooCommerce's begin with “cs_”."],
    }


def test_drops_the_spaces_that_were_copied_along() -> None:
    loaded = WooCommerceSettings().load(
        {"site": "shop.example", "consumer_key": " ck_1 ", "consumer_secret": "cs_2\n"},
    )
    assert loaded == {"site": "https://shop.example", "consumer_key": "ck_1", "consumer_secret": "cs_2"}


def test_only_the_secret_is_marked_secret_and_every_field_is_labelled() -> None:
    fields = WooCommerceSettings().fields
    assert [name for name, field in fields.items() if field.metadata.get("secret")] == ["consumer_secret"]
    assert all(field.metadata["label"] and field.metadata["hint"] for field in fields.values())


def test_talks_to_the_shop_alone_whatever_folder_it_is_in() -> None:
    assert WooCommerceConnector.hosts({"site": "http://shop.example:8080/store"}) == ("http://shop.example:8080",)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://shop.example/", "https://shop.example", True),
        ("http://shop.example:8080/", "https://www.Shop.example", True),
        ("https://shop.example/store/", "https://shop.example/Store", True),
        ("https://shop.example/", "https://other.example", False),
        ("https://shop.example/store", "https://shop.example/other", False),
        ("https://shop.example.evil.example/", "https://shop.example", False),
        ("not an address", "https://shop.example", False),
    ],
)
def test_tells_one_shop_from_another(one: str, other: str, same: bool) -> None:
    assert same_site(one, other) is same

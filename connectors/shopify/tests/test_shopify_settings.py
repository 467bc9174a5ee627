"""What merchants paste into the connect form."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from hub_shopify.connector import ShopifyConnector
from hub_shopify.settings import ShopifySettings

FORM = {"shop": "my-shop.myshopify.com", "client_id": "abc123", "client_secret": "shpss_secret"}


@pytest.mark.parametrize(
    "pasted",
    [
        "my-shop.myshopify.com",
        "https://my-shop.myshopify.com",
        "https://my-shop.myshopify.com/",
        "https://my-shop.myshopify.com/admin/products?selectedView=all",
        "http://MY-Shop.myshopify.com/admin",
        "https://admin.shopify.com/store/my-shop",
        "https://admin.shopify.com/store/my-shop/settings/domains",
        "my-shop",
        "  my-shop.myshopify.com\n",
    ],
)
def test_finds_the_shop_in_what_people_paste(pasted: str) -> None:
    settings = ShopifySettings().load({**FORM, "shop": pasted})
    assert settings["shop"] == "my-shop.myshopify.com"
    assert ShopifyConnector.hosts(settings)[0] == "https://my-shop.myshopify.com"


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "shop.example",
        "https://www.my-shop.example/admin",
        "evil.com#.myshopify.com",
        "my-shop.myshopify.com.evil.com",
        "https://my-shop.myshopify.com@evil.com",
        "https://user:pass@my-shop.myshopify.com",
        "https://my-shop.myshopify.com:8443",
        "my-shop.myshopify.com\nevil.com",
        "my-shop.myshopify.com evil.com",
        "evil.com/my-shop.myshopify.com",
        "-my-shop.myshopify.com",
        "a.b.myshopify.com",
        "ftp://my-shop.myshopify.com",
        "ｍy-shop.myshopify.com",
    ],
)
def test_refuses_what_is_not_a_shop_and_says_where_its_address_is(pasted: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ShopifySettings().load({**FORM, "shop": pasted})
    assert list(refused.value.normalized_messages()) == ["shop"]
    assert ".myshopify.com" in refused.value.normalized_messages()["shop"][0]


def test_keys_lose_the_spaces_copied_along() -> None:
    settings = ShopifySettings().load({**FORM, "client_id": " abc123 ", "client_secret": "shpss_secret\r\n"})
    assert (settings["client_id"], settings["client_secret"]) == ("abc123", "shpss_secret")


@pytest.mark.parametrize(
    ("changed", "field", "says"),
    [
        ({"client_secret": "shpat_0123"}, "client_secret", "This is an access token."),
        ({"client_id": "", "access_token": "shpss_0123"}, "access_token", "This is a client secret."),
        ({"client_id": ""}, "client_id", "Enter the client ID"),
        ({"client_secret": " "}, "client_secret", "it is needed"),
        ({"client_id": "abc 123"}, "client_id", "Copy it again."),
        ({"client_id": "abc\u200b123"}, "client_id", "Copy it again."),
    ],
)
def test_says_which_key_was_mixed_up(changed: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ShopifySettings().load({**FORM, **changed})
    messages = refused.value.normalized_messages()
    assert list(messages) == [field]
    assert says in messages[field][0]


def test_an_old_access_token_does_instead_of_a_client_id() -> None:
    settings = ShopifySettings().load({**FORM, "client_id": "", "access_token": "shpat_0123"})
    assert settings["access_token"] == "shpat_0123"


def test_secrets_are_marked_and_every_field_is_explained() -> None:
    schema = ShopifySettings()
    secret = {name for name, field in schema.fields.items() if field.metadata.get("secret")}
    assert secret == {"client_secret", "access_token", "authorization_code"}
    assert all(field.metadata["label"] and field.metadata["hint"] for field in schema.fields.values())

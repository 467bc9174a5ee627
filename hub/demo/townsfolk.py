"""The customers of the demo and of the sandbox: a small town of people who do not exist, who come back, and who write
what customers write."""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from anyascii import anyascii

from hub.core.model import Address
from hub.testing.simulator import Customer

_HOME = "GB"
# By country: who lives there, their telephone numbers (of those that a country keeps for plays and films, "#" is any
# digit), and their homes: street, city, region, postal code.
_PLACES: Mapping[str, tuple[Sequence[str], str, Sequence[tuple[str, str, str, str]]]] = {
    "GB": (
        (
            "Maisie Thistlewood",
            "Rhys Cadwallader-Pryce",
            "Priya Nandakumar",
            "Callum Aitkenhead",
            "Tobias Garside",
            "Eilidh Penhallow",
            "Kwame Birtwhistle",
            "Hattie Oyelaran",
            "Imran Rafiq-Hale",
            "Winifred Ashgrove",
            "Dafydd Llanwern",
            "Morag Strathbeg",
        ),
        "+44 113 496 0###",
        (
            ("4 Weaver's Court", "Leeds", "", "LS1 4DY"),
            ("27 Mill Lane", "York", "", "YO1 7HH"),
            ("3 Harbour View", "Bristol", "", "BS1 5TY"),
            ("18 Castle Terrace", "Edinburgh", "", "EH1 2DP"),
            ("112 Canal Street", "Manchester", "", "M1 3HE"),
            ("9 Heol y Bont", "Cardiff", "", "CF10 1EP"),
            ("41 Cathedral Quarter", "Belfast", "", "BT1 2LQ"),
            ("66 Kiln Road", "London", "", "SE1 9GF"),
        ),
    ),
    "IE": (
        ("Aoife Ní Dhuibhir", "Cormac Mulkerrin", "Gráinne Tierney-Walsh"),
        "+353 20 910 ####",
        (("5 Quay Street", "Galway", "", "H91 E2R8"), ("14 Dame Court", "Dublin", "", "D02 X285")),
    ),
    "DE": (
        ("Jörg Müßighaus", "Wiebke Ostermoor", "Käthe Grünwaldt"),
        "+49 30 23125 ###",
        (("Lindenstr. 14", "Köln", "", "50674"), ("Töpfergasse 3", "Dresden", "", "01067")),
    ),
    "FR": (
        ("Zoé Lefebvre-Quentin", "Théo Bésançon", "Maëlys Rocheteau"),
        "+33 1 99 00 ## ##",
        (("7 rue des Étoiles", "Lyon", "", "69002"), ("22 quai de l'Île", "Nantes", "", "44000")),
    ),
    "ES": (("Íñigo Peñalver", "Begoña Otxoarena"), "", (("Calle del Horno 11", "Sevilla", "Sevilla", "41001"),)),
    "NL": (("Sjoerd Hoekzema", "Fenna Appelboom"), "", (("Kolkgracht 26-II", "Amsterdam", "", "1016 GV"),)),
    "SE": (("Åsa Björkdalen", "Göran Ålandsson"), "+46 8 465 004 ##", (("Örtagatan 8", "Göteborg", "", "411 23"),)),
    "DK": (("Søren Nørrelund", "Mæja Kjærbye"), "", (("Strædet 6, 2. th.", "Aarhus", "", "8000"),)),
    "PL": (("Łucja Żółwińska", "Przemysław Ćwikła"), "", (("ul. Garncarska 12", "Wrocław", "", "50-068"),)),
    "PT": (("Inês Conceição-Brandão", "João Magalhoto"), "", (("Rua da Olaria 5", "Porto", "", "4050-430"),)),
    "US": (
        ("Harper Okonkwo-Reyes", "Desmond Vandersloot", "Lupita Whitefern"),
        "+1 503 555 01##",
        (("410 Alder St", "Portland", "OR", "97205"), ("88 Clay Ave", "Asheville", "NC", "28801")),
    ),
    "CA": (
        ("Étienne Beauséjour", "Noor Singh-Lavoie"),
        "+1 506 555 01##",
        (("350 rue de l'Argile", "Québec", "QC", "G1R 3X9"),),
    ),
}
# People who mistyped where they live: nobody could deliver there, so the hub holds what they order.
_MISTYPED = (
    Address(name="Percival Quill", line1="2 Ropewalk", city="Hull", postcode="HU1", country="GB"),
    Address(name="Marguerite Sansonnet", line1="9 rue du Four", city="", postcode="59000", country="FR"),
)
_NOTES = (
    "Please leave it with the neighbor at number 9 if nobody opens.",
    "It is a present: no invoice in the parcel, please.",
    "The bell does not work. Knock twice!",
    "Could you pack the two colors apart?",
    "Merci d'emballer avec soin, c'est pour un anniversaire.",
    "Bitte nicht vor Freitag liefern.",
)
_PRESENT = _NOTES[1]
_WRITES = 0.15  # how many orders come with a note
_PAYS_LATER = 0.05
_REGULAR = 4  # orders after which the shop calls somebody a regular
_EVENNESS = 3  # the smaller, the more those buy who buy most


def people(seed: int) -> list[Customer]:
    """Everybody who lives in the town, those who buy most often first. The same for the same seed."""
    choose = random.Random(f"town {seed}")  # noqa: S311 (customers are no secret)
    found = [_customer(address) for country in _PLACES for address in _inhabitants(country, choose)]
    choose.shuffle(found)
    # Whoever mistypes an address does not come often.
    return [*found, *map(_customer, _MISTYPED)]


def _inhabitants(country: str, choose: random.Random) -> Iterator[Address]:
    names, phone, homes = _PLACES[country]
    for name in names:
        line1, city, region, postcode = choose.choice(homes)
        yield Address(
            name=name,
            line1=line1,
            city=city,
            region=region,
            postcode=postcode,
            country=country,
            phone="".join(choose.choice(string.digits) if each == "#" else each for each in phone),
        )


def _customer(address: Address) -> Customer:
    return Customer(address=address, email=f"{anyascii(address.name).lower().replace(' ', '.')}@example.com")


class Visitors:
    """Who comes to a shop, one after the other: some often, most now and then.

    Only people of its own country come to a shop that sends nothing ``abroad``.
    """

    def __init__(self, seed: int, *, abroad: bool) -> None:
        self._people = [each for each in people(seed) if abroad or each.address.country == _HOME]
        self._weights = list(accumulate(1 / (place + _EVENNESS) for place in range(len(self._people))))
        self._orders: Counter[str] = Counter()

    def next(self, choose: random.Random) -> Customer:
        """Whoever comes now, with what they write and how they pay."""
        comes = choose.choices(self._people, cum_weights=self._weights)[0]
        self._orders[comes.email] += 1
        note = choose.choice(_NOTES) if choose.random() < _WRITES else ""
        said = {"gift": note == _PRESENT, "regular": self._orders[comes.email] > _REGULAR}
        tags = tuple(tag for tag, is_so in said.items() if is_so)
        return replace(comes, note=note, tags=tags, pays_later=choose.random() < _PAYS_LATER)

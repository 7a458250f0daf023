"""What holds for alias links whatever documents say."""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from stellaops.advisories import databases
from stellaops.advisories.advisory import Advisory
from stellaops.advisories.aliases import Identity, Statement, identify, links

_NAMES = st.sampled_from(
    [*(f"CVE-2024-100{n}" for n in range(5)), *(f"GHSA-{n}" for n in range(6)), " PYSEC-1"]
)
_LISTS = st.lists(_NAMES, max_size=4)
_DOCUMENTS = st.lists(
    st.builds(Advisory, id=_NAMES, aliases=_LISTS, upstream=_LISTS, related=_LISTS), max_size=8
)


def identity(start: str, made: list[Statement]) -> Identity:
    def stated(names: Collection[str]) -> list[Statement]:
        return [one for one in made if one.link.subject in names or one.link.object in names]

    return identify(start, stated)


@given(_DOCUMENTS, _NAMES, st.randoms(use_true_random=False))
def test_an_identity_has_one_cve_at_most_and_no_order_matters(
    documents: list[Advisory], start: str, order: random.Random
) -> None:
    made = [Statement(link, "s", one.id) for one in documents for link in links(one, databases.GENERIC)]
    found = identity(start, made)
    assert start in found.names
    assert sum(bool(re.match(r"CVE-", name)) for name in found.names) <= 1
    assert not set(found.covers) & set(found.names)
    order.shuffle(made)
    assert identity(start, made) == found


@given(_DOCUMENTS)
def test_every_name_of_a_cve_leads_back_to_it_or_says_why_not(documents: list[Advisory]) -> None:
    made = [Statement(link, "s", one.id) for one in documents for link in links(one, databases.GENERIC)]
    for cve in (f"CVE-2024-100{n}" for n in range(5)):
        for name in identity(cve, made).names:
            back = identity(name, made)
            assert cve in back.names or any(step.reason.startswith("rule 5") for step in back.steps)

"""PrefixIndex: whatever comes and goes, it finds those whom a look at every prefix would find, and keeps no more."""

from random import Random

import pytest

from zgreen.patterns._prefixes import PrefixIndex, Wanted

pytestmark = pytest.mark.once

TOPICS = [b"", b"a", b"ab", b"abc", b"b", b"ba", b"abcd", b"c"]


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_what_a_look_at_every_prefix_would_find(seed):
    random = Random(seed)
    index = PrefixIndex()
    wanted = {}  # (prefix, exact) -> members, in the order they came
    for _ in range(300):
        prefix, exact, member = random.choice(TOPICS), random.random() < 0.3, random.randrange(4)
        members = wanted.setdefault((prefix, exact), {})
        if random.random() < 0.5:
            index.add(prefix, member, exact)
            members[member] = None
        else:
            there = member in members
            members.pop(member, None)
            left = any(wanted.get((prefix, kind)) for kind in (False, True))
            assert index.discard(prefix, member, exact) == (not members and there and not left)
        wanted = {key: members for key, members in wanted.items() if members}
        for topic in TOPICS:
            found = [m for (p, kind), members in wanted.items() if Wanted((p,), kind).matches(topic) for m in members]
            assert sorted(index.match(topic)) == sorted(set(found))
            assert index.wants(topic) == bool(found)
            assert (topic in index) == any((topic, kind) in wanted for kind in (False, True))
        assert len(index) == len({prefix for prefix, _ in wanted})
        # one look-up for each of these: so none too many
        assert index._lengths == sorted({len(prefix) for prefix, exact in wanted if not exact})


def test_a_match_is_a_copy():
    """Those found may leave while they are told."""
    index = PrefixIndex()
    for member in range(3):
        index.add(b"a", member)
    for member in index.match(b"abc"):
        index.discard(b"a", member)
    assert len(index) == 0

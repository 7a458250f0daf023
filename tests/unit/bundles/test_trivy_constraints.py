"""What Trivy's comparers accept, what they read otherwise, and how several documents' statements become one."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles.trivy.constraints import UnknownComparer, misreading, problem, version_problem
from stellaops.bundles.trivy.constraints import positions as p
from stellaops.bundles.trivy.constraints.merge import ANY_VERSION, Statement, merge
from stellaops.bundles.trivy.constraints.reading import read
from stellaops.bundles.trivy.constraints.spelling import spelling
from stellaops.matching.ranges import contains
from stellaops.matching.versions.registry import ECOSYSTEMS, scheme_of

# ---- the matcher


def test_the_matcher_agrees_with_the_regular_expressions_of_the_library() -> None:
    pattern = p.sequence(
        p.maybe(p.one("v")),
        p.run("01"),
        p.repeated(p.one("."), p.run("01x")),
        p.maybe(p.either(p.word("rc"), p.sequence(p.one("-"), p.maybe(p.run("1r"))))),
    )
    expression = re.compile(r"v?[01]+(\.[01x]+)*(rc|-[1r]*)?")
    alphabet = "v01.xrc-"
    texts = [""]
    for _ in range(4):
        texts += [text + character for text in texts for character in alphabet if len(text) < 4]
    for text in set(texts):
        assert p.matches(pattern, text) == bool(expression.fullmatch(text)), text


@given(st.text("v01.xrc-", max_size=12))
def test_the_matcher_agrees_on_longer_texts_too(text: str) -> None:
    pattern = p.repeated(
        p.either(p.word("v0"), p.sequence(p.run("01"), p.maybe(p.one(".")))), p.maybe(p.run("xrc-"))
    )
    assert p.matches(pattern, text) == bool(re.fullmatch(r"((v0|[01]+\.?)[xrc-]*)*", text))


def test_a_text_made_to_be_ambiguous_takes_no_longer_than_another() -> None:
    started = time.process_time()
    for ecosystem in ECOSYSTEMS:
        assert problem(ecosystem, ">=" + "1" * 5000 + "!") is not None
    assert time.process_time() - started < 5


# ---- problem

FORMS_WE_WRITE = [
    ">=1.0, <2.0", "<=1.2", "=1.2.3", ">=0.9", "1.2.3", ">=1.0, <2.0 || =3.1", "<0", ">=0", "<1.0.0-rc.1", ">=1.0.0-0",
]  # fmt: skip


@pytest.mark.parametrize("ecosystem", sorted(ECOSYSTEMS))
def test_the_forms_that_we_write_parse_in_every_ecosystem(ecosystem: str) -> None:
    forms = [form for form in FORMS_WE_WRITE if ecosystem != "pip" or not form.endswith(("rc.1", "0-0"))]
    assert [form for form in forms if problem(ecosystem, form) is not None] == []


UNUSABLE = {
    "pip": [
        "<0.2.0-n653",
        ">=1.0RC1",
        "=1.0-SNAPSHOT",
        ">=1.0+local",
        ">=1.*",
        "~=1",
        "^1.0",
        "==1.0+x.*",
        "==1.dev1.*",
    ],
    "npm": ["=1.2.3.4", "<1.9.0b1", "!=1.0", "", "^1.2x"],
    "bitnami": [">=nightly.2026-03-10.0", "=1.2.3.4"],
    "cargo": ["<1.0_1"],
    "nuget": ["=1.0.0.post1"],
    "composer": ["dev-master"],
    "go": ["<18446744073709551616"],
    "rubygems": ["=1.0+1", "^1.0", "~> 99999999999999999999"],
    "maven": ["=1.0:2", "[1.0,2.0)", "[1.0]", "1.0 || (,2]"],
    "julia": [""],
    "erlang": [">="],
    "swift": ["||"],
    "pub": ["<1 ||"],
    "conan": ["é"],
    "k8s": ["\u00a0"],
}
USABLE = {
    "pip": ["==1.0+x", "===1.0", "*", "!=1.*", "~=1.4"],
    "npm": ["*", "1.x || >=2.5.0", "^1.2"],
    "bitnami": ["!=1.0.0-1"],
    "rubygems": ["~> 1.2.3, >= 1.2.5"],
    "composer": [">=1.0,<2.0|| >=3,<3.1.4"],
    "maven": ["<1.0.0.RELEASE"],
    "go": ["<v2.0.0+incompatible", "<18446744073709551615"],
    "cargo": ["~1.2 ^2"],
}
MISREAD = {
    "pip": [">=1.0alpha1", "<2.0-beta", "=1.0preview2"],
    "npm": ["=1.2.34.5", "<=1.2", "=1", "<1.2.0-x", "=1.2.3x", "<99999999999999999999.0.0", "<1 || "],
    "bitnami": ["<0.11.10.3", "=1.2"],
    "go": ["<1.0.0-rc.x"],
    "rubygems": ["=99999999999999999999.1"],
    "cargo": ["=1.0+a1.0+b", "<1.0.0-x"],
}
WELL_READ = {
    "pip": [">=1.0a1, <2.0.post1.dev3", "*"],
    "npm": ["<1.2", "1.x"],
    "go": ["<v1.2.3-0.2021-ab"],
    "maven": ["<31.0-jre"],
    "rubygems": ["~> 1.2.3, >= 1.2.3.1"],
    "nuget": ["=1.0.0.1"],
    "cargo": ["foo"],
}


def each(lists: dict[str, list[str]]) -> pytest.MarkDecorator:
    cases = [(ecosystem, constraint) for ecosystem, texts in lists.items() for constraint in texts]
    return pytest.mark.parametrize(("ecosystem", "constraint"), cases)


@each(UNUSABLE)
def test_a_constraint_that_trivy_cannot_use_is_named(ecosystem: str, constraint: str) -> None:
    assert problem(ecosystem, constraint)


@each(USABLE)
def test_what_trivy_parses_has_no_problem(ecosystem: str, constraint: str) -> None:
    assert problem(ecosystem, constraint) is None


def test_an_unknown_ecosystem_is_an_error_that_lists_the_known_ones() -> None:
    for ask in (problem, misreading, version_problem):
        with pytest.raises(UnknownComparer, match="cocoapods"):
            ask("PyPI", "1.0")


@given(text=st.text(max_size=30), ecosystem=st.sampled_from(sorted(ECOSYSTEMS)))
def test_any_text_gets_an_answer(text: str, ecosystem: str) -> None:
    answers = [ask(ecosystem, text) for ask in (problem, misreading, version_problem)]
    assert all(answer is None or answer for answer in answers)
    read(ecosystem, text)


def test_the_checks_need_only_the_standard_library() -> None:
    program = (
        "import sys; import stellaops.bundles.trivy.constraints;"
        "print([n for n in ('packaging', 'stellaops.matching') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- misreading and installed versions


@each(MISREAD)
def test_what_trivy_reads_otherwise_is_told(ecosystem: str, constraint: str) -> None:
    assert problem(ecosystem, constraint) is None
    assert misreading(ecosystem, constraint)


@each(WELL_READ)
def test_what_trivy_reads_as_it_stands_is_no_misreading(ecosystem: str, constraint: str) -> None:
    assert misreading(ecosystem, constraint) is None


def test_installed_versions_that_trivy_cannot_compare_are_told() -> None:
    refused = [("npm", "1.2"), ("npm", "v1.2.3"), ("npm", "01.2.3"), ("bitnami", "1.2.3.4"), ("pip", "1.0-SNAPSHOT"),
               ("cargo", "1.0_1"), ("go", "18446744073709551616.0.0"), ("rubygems", "1.0+1")]  # fmt: skip
    accepted = [("npm", "1.2.3-rc.1+b"), ("pip", "1.0RC1"), ("go", "v0.0.0-2021-ab"), ("nuget", "1.2.3.4"),
                ("rubygems", " 1.2.a "), ("maven", "anything at all"), ("julia", "1.0.7+0")]  # fmt: skip
    assert [case for case in refused if version_problem(*case) is None] == []
    assert [case for case in accepted if version_problem(*case) is not None] == []


# ---- spelling


def test_versions_are_spelt_so_that_trivy_reads_them_as_meant() -> None:
    spelt = [("pip", "1.0Alpha1", "1.0a1"), ("pip", "2.0-RC-2", "2.0rc2"), ("pip", "not a version", "not a version"),
             ("npm", "1.2", "1.2.0"), ("npm", "v1.2.3-rc.1+b", "1.2.3-rc.1+b"), ("bitnami", "3-1", "3.0.0-1"),
             ("npm", "1.2.3.4", "1.2.3.4"), ("go", "v1.2.3+incompatible", "v1.2.3+incompatible")]  # fmt: skip
    assert [(ecosystem, text, spelling(ecosystem, text)) for ecosystem, text, _ in spelt] == spelt


# ---- merge


def test_ranges_are_united_and_a_fix_inside_anothers_range_is_dropped() -> None:
    merged = merge("pip", [Statement((">=1, <2",), ("2",)), Statement((">=1.5, <3",), ("3",))])
    assert merged == Statement((">=1, <2", ">=1.5, <3"), ("3",))


def test_a_backport_that_both_documents_call_fixed_stays() -> None:
    both = Statement(("<3",), ("2.1", "3"))
    assert merge("go", [both, Statement(("<3", ">=4, <4.1"), ("2.1", "3", "4.1"))]).patched == (
        "2.1",
        "3",
        "4.1",
    )


def test_a_document_that_lists_only_fixes_means_all_other_versions() -> None:
    merged = merge(
        "rubygems", [Statement((), (">= 2.0",), ("< 1.0",)), Statement((">= 2.5, < 2.6",), ("2.6",))]
    )
    assert merged == Statement((">=1.0, <2.0", ">= 2.5, < 2.6"), ("2.6",), ("< 1.0",))
    assert not reports("rubygems", merged, "0.9")
    assert reports("rubygems", merged, "1.9")
    assert not reports("rubygems", merged, "2.1")


def test_documents_that_list_only_fixes_keep_those_on_which_they_agree() -> None:
    merged = merge("rubygems", [Statement((), ("~> 1.2.3", ">= 2")), Statement((), ("~> 1.2.3", ">= 2.1"))])
    assert merged == Statement((), ("~> 1.2.3", ">= 2.1"))


def test_a_finer_pessimistic_fix_within_anothers_is_kept() -> None:
    merged = merge("rubygems", [Statement((), ("~> 1.2.3",)), Statement((), ("~> 1.2.5", ">= 1.3"))])
    assert merged == Statement((), ("~> 1.2.5",))


def test_documents_that_agree_on_no_fix_report_every_version() -> None:
    merged = merge("composer", [Statement((), ("1.0",)), Statement((), ("2.0",))])
    assert merged == Statement(ANY_VERSION, ())


def test_an_empty_constraint_reports_every_version_and_stays_alone() -> None:
    assert merge("npm", [Statement(("",), ()), Statement(("<1.0.0",), ("1.0.0",))]) == Statement(("",), ())
    assert merge("npm", [Statement(("<2.0.0",), ("",)), Statement(("<1.0.0",), ("1.0.0",))]) == Statement(
        ("",), ()
    )


def test_nothing_said_merges_to_nothing() -> None:
    assert merge("npm", []) == Statement((), ())
    assert merge("npm", [Statement((), ()), Statement((">=2.0.0", "<1.0.0"), ())]) == Statement(
        ("<1.0.0", ">=2.0.0"), ()
    )


def test_what_is_listed_comes_in_order_of_version_without_repetition() -> None:
    merged = merge(
        "go", [Statement((">=1.10.0, <1.10.2", "<1.2.0", "<1.2.0"), ("1.10.2", "1.2.0", "1.10.2"))]
    )
    assert merged == Statement(("<1.2.0", ">=1.10.0, <1.10.2"), ("1.2.0", "1.10.2"))


def test_pythons_local_labels_do_not_hide_a_finding() -> None:
    merged = merge("pip", [Statement(("=1.0+cu1",), ()), Statement(("<1.0",), ("1.0",))])
    assert merged.patched == ()


VERSIONS = {
    "cargo": ["0.0.0-0", "0.9", "1.0.0-a", "1.0.0", "1.0.1", "1.1.0-rc", "1.1.0", "2.0.0", "2.0.1", "3"],
    "npm": ["0.0.0-0", "0.9.0", "1.0.0-a", "1.0.0", "1.0.1", "1.1.0-rc", "1.1.0", "2.0.0", "2.0.1", "3.0.0"],
    "pip": ["0.dev0", "0.9", "1.0a1", "1.0", "1.0.1", "1.1rc1", "1.1", "1.1.post1", "2.0", "3"],
    "rubygems": ["0.a", "0.9", "1.0.a", "1.0", "1.0.1", "1.1.rc", "1.1", "2.0", "2.0.1", "3"],
    "maven": ["0-alpha", "0.9", "1.0-alpha", "1.0", "1.0.1", "1.1-rc", "1.1", "2.0", "2.0.1", "3"],
    "bitnami": [
        "0.0.0",
        "0.9.0",
        "1.0.0",
        "1.0.0-1",
        "1.0.1",
        "1.1.0-0",
        "1.1.0",
        "2.0.0",
        "2.0.0-1",
        "3.0.0",
    ],
}


def statements_of(ecosystem: str) -> st.SearchStrategy[Statement]:
    version = st.sampled_from(VERSIONS[ecosystem])
    bound = st.tuples(
        st.sampled_from(["<", "<=", ">=", "=", "" if ecosystem == "pip" else ">", ""]), version
    ).map("".join)
    inside = st.tuples(version, version).map(lambda pair: f">={pair[0]}, <{pair[1]}")
    pessimistic = version.map(lambda text: f"~> {text}" if ecosystem in ("cargo", "rubygems") else text)
    joined = st.tuples(inside, bound).map(" || ".join)
    texts = st.lists(st.one_of(bound, inside, pessimistic, joined), max_size=3).map(tuple)
    return st.builds(
        Statement, texts, st.lists(st.one_of(version, bound, pessimistic), max_size=3).map(tuple), texts
    )


def reports(ecosystem: str, statement: Statement, version: str) -> bool:
    """Trivy's rule for an advisory; the readings used here are exact."""
    key = scheme_of(ecosystem).key(version)

    def match(texts: tuple[str, ...]) -> bool:
        return any(contains(read(ecosystem, text).outer, key) for text in texts)

    if not statement.vulnerable:
        return bool(statement.secure) and not match(statement.secure)
    return match(statement.vulnerable) and not match(statement.secure)


@pytest.mark.parametrize("ecosystem", sorted(VERSIONS))
@given(data=st.data())
def test_merging_hides_nothing_and_depends_on_no_order(ecosystem: str, data: st.DataObject) -> None:
    statements = data.draw(st.lists(statements_of(ecosystem), max_size=4))
    merged = merge(ecosystem, statements)
    assert merge(ecosystem, data.draw(st.permutations(statements))) == merged
    assert merge(ecosystem, [merged]) == merged
    assert merge(ecosystem, [merged, merged]) == merged
    assert merge(ecosystem, [*statements, *statements]) == merged
    for version in VERSIONS[ecosystem]:
        told = [statement for statement in statements if reports(ecosystem, statement, version)]
        assert not told or reports(ecosystem, merged, version), (version, told, merged)


@pytest.mark.parametrize("ecosystem", sorted(VERSIONS))
@given(data=st.data())
def test_what_is_merged_parses_wherever_its_parts_do(ecosystem: str, data: st.DataObject) -> None:
    merged = merge(ecosystem, data.draw(st.lists(statements_of(ecosystem), max_size=4)))
    assert [text for text in merged.vulnerable + merged.secure if problem(ecosystem, text)] == []

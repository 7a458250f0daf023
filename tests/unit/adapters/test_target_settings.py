"""The section `targets` of the settings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from stellaops.adapters.settings import load as settings
from stellaops.adapters.settings import targets as target_settings
from stellaops.adapters.settings.load import InvalidSettings, Settings
from stellaops.adapters.targets.registry import MODULES, opener
from stellaops.exports.profile import DRIVERS
from stellaops.exports.run import Run, RunStatus
from stellaops.worker.child import Order, environment, order_of

FILE = """
targets:
  oci: {driver: oci, repository: "registry.example.org/stella/{tenant}", plainHttp: false}
  mirror:
    driver: object
    store: s3://bundles/one
    region: eu-central-1
    tenants: [acme]
    lock: {mode: governance, days: 30}
"""


def loaded(tmp_path: Path, text: str = "", **variables: str) -> Settings:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return settings.load({}, {"STELLA_CONFIG": str(tmp_path / "config.yaml"), **variables})


def problems(tmp_path: Path, text: str = "", **variables: str) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as error:
        loaded(tmp_path, text, **variables)
    return error.value.details


def test_targets_are_read_from_the_file_with_sections_inside(tmp_path: Path) -> None:
    found = loaded(tmp_path, FILE).targets
    assert set(found) == {"oci", "mirror"}
    mirror = found["mirror"]
    assert (mirror.driver, mirror.tenants) == ("object", ("acme",))
    assert (mirror.get("lock.mode"), mirror.number("lock.days")) == ("governance", 30)
    assert not found["oci"].is_on("plainHttp")
    assert found["oci"].for_tenant("acme").need("repository") == "registry.example.org/stella/acme"
    assert mirror.is_for("acme")
    assert not mirror.is_for("other")
    assert found["oci"].is_for("other")


def test_variables_stand_over_the_file_and_name_targets_of_their_own(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        FILE,
        TARGETS__MIRROR__LOCK__DAYS="7",
        TARGETS__FAR_AWAY__DRIVER="oci",
        TARGETS__FAR_AWAY__REPOSITORY="r.example.org/{tenant}",
        TARGETS__FAR_AWAY__DOCKERCONFIGFILE="/run/secrets/docker.json",
    )
    assert found.targets["mirror"].number("lock.days") == 7
    assert found.targets["far-away"].get("dockerConfigFile") == "/run/secrets/docker.json"
    shown = {name: (value, origin) for name, value, origin in found.every()}
    assert shown["targets.mirror.lock.days"] == ("7", "TARGETS__MIRROR__LOCK__DAYS")
    assert shown["targets.mirror.lock.mode"] == ("governance", str(tmp_path / "config.yaml"))


def test_the_driver_may_be_left_out_where_the_name_says_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, "targets: {oci: {repository: 'r.org/{tenant}'}}").targets["oci"].driver == "oci"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets: 3", "a section is needed"),
        ("targets: {oci: r.example.org}", "targets.oci: a section is needed"),
        ("targets: {Edge: {driver: oci, repository: 'r/{tenant}'}}", "1 to 63 of a-z"),
        ("targets: {edge: {driver: ftp}}", "'ftp' is none of http, object, oci"),
        ("targets: {edge: {driver: oci}}", "repository is missing"),
        ("targets: {oci: {driver: object, store: 's3://b/{tenant}'}}", "the name oci is for the driver oci"),
        ("targets: {edge: {driver: oci, repositry: 'r/{tenant}'}}", "is repository meant?"),
        ("targets: {edge: {driver: oci, repository: 'r/{tenant}', lock: {days: 1}}}", "lock.days"),
        ("targets: {edge: {driver: oci, repository: r/x}}", "`tenants` must name one tenant"),
        (
            "targets: {edge: {driver: oci, repository: r/x, tenants: [a, b]}}",
            "`tenants` must name one tenant",
        ),
        ("targets: {edge: {driver: oci, repository: 'r/{tenant}/{user}'}}", "{user} is not filled in"),
        ("targets: {edge: {driver: oci, repository: [1]}}", "a text is needed"),
        ("targets: {nope: {}}", "'nope' is none of http, object, oci"),
        ("targets: {oci: {repository: 'foo/{tenant}/'}}", "'foo' is no registry's host"),
        ("targets: {oci: {repository: 'https://r.org/{tenant}'}}", "does not begin with a registry's host"),
        ("targets: {object: {store: 's3://b/{tenant}'}}", "region is missing"),
        ("targets: {object: {store: 's3://b/{tenant}', lock: {mode: foo}}}", "lock.mode: 'foo' is none of"),
        ("targets: {object: {store: 's3://b/{tenant}', lock: {mode: governance}}}", "belong together"),
        ("targets: {object: {store: 's3://b/{tenant}', lock: {days: x}}}", "a whole number above zero"),
        ("targets: {oci: {repository: 'r.org/{tenant}', plainHttp: perhaps}}", "true or false is needed"),
        (
            "targets: {a: {driver: oci, repository: 'r/{tenant}'}, b: {driver: oci, repository: 'r/{tenant}/'}}",
            "targets.b is the same place as targets.a",
        ),
    ],
)
def test_what_is_wrong_with_a_target_is_said(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in problem for problem in problems(tmp_path, text)), problems(tmp_path, text)


def test_a_variable_that_names_no_key_is_an_error(tmp_path: Path) -> None:
    assert "TARGETS__NAME__KEY" in problems(tmp_path, TARGETS__EDGE="x")[0]


def test_credentials_of_addresses_are_not_shown(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "targets: {object: {store: 's3://b/{tenant}', endpoint: 'https://me:hush@s3.example.org'}}",
    )
    assert "hush" not in repr(found.every())
    assert "hush" not in repr(found.targets)


def test_every_driver_has_its_settings_and_its_module() -> None:
    assert set(MODULES) == set(DRIVERS) == set(target_settings.drivers())
    assert all(callable(opener(driver)) for driver in DRIVERS)


def test_the_process_that_works_on_a_run_gets_the_targets_with_its_order(tmp_path: Path) -> None:
    found = loaded(tmp_path, FILE)
    run = Run(
        "run-1", "acme", "mine", "r1", "json:raw", {}, RunStatus.RUNNING, datetime(2026, 3, 1, tzinfo=UTC)
    )
    order = msgspec.json.decode(order_of(found, run), type=Order)
    assert order.targets == found.targets
    assert "TARGETS__MIRROR__STORE" not in environment({"TARGETS__MIRROR__STORE": "s3://elsewhere"})

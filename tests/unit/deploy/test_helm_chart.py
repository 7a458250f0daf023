"""The Helm chart: linted, rendered by Helm's own library, checked by schemas, and looked at as a cluster would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import helm_python as helm
import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import promql_parser
import pytest
import yaml

from stellaops.adapters.settings.load import describe, load
from stellaops.adapters.settings.mirrors import SIDES, describe_mirror_host, read_mirror_host
from stellaops.core import durations
from tests.support.helm import (
    CHART,
    IMAGE,
    PUBLIC_KEY,
    Document,
    at,
    containers,
    documents,
    leaves,
    merged,
    mirror,
    named,
    names,
    parsed,
    pod_templates,
    templates,
    values_file,
    whole,
)

VERSIONS = ("1.27", "1.31", "1.37")
SWITCHES = Path(__file__).parents[2] / "data" / "helm" / "switches.json"
OTHER_DIGEST = "sha256:" + "6" * 64


@cache
def everything() -> dict[str, Any]:
    """All that the chart can make."""
    return merged(
        whole(
            store={"evidence": "", "service": "", "passwordSecret": {"name": ""}},
            artefacts={"store": "", "keySecret": {"name": "objects-key"}},
            postgres={"enabled": True, "image": IMAGE},
            objects={"enabled": True, "image": IMAGE},
            egress={"allowPrivate": ["10.96.0.0/12"], "caConfigMap": {"name": "our-ca"}},
            keys={"passphraseSecret": {"name": "key-passphrase"}},
            mirror={
                "authority": {
                    "url": "https://stella.example.org",
                    "concelierClientId": "concelier",
                    "excititorClientId": "excititor",
                }
            },
            gateway={
                "replicas": 2,
                "state": {"address": "postgresql://gateway@db:5432/gateway", "passwordSecret": {"name": "gateway-db"}},
                "service": {"type": "LoadBalancer"},
            },
            api={
                "bootstrapSecret": {"name": "stella-admin"},
                "tls": {"secretName": "stella-api-tls"},
                "ingress": {"enabled": True, "host": "stella.example.org"},
            },
            publish={"keySecret": {"name": "objects-key"}},
            notify={
                "smtp": {
                    "host": "mail.example.org", "username": "stella", "from": "stella@example.org",
                    "passwordSecret": {"name": "smtp"},
                },
                "channelSecrets": [{"tenant": "acme", "name": "slack", "secret": "hooks", "key": "slack"}],
            },
            worker={"autoscaling": {"enabled": True}},
            persistence={"jobs": {"accessMode": "ReadWriteMany"}},
            podNetworks=["10.244.0.0/16"],
        ),
        {
            "monitoring": {
                name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboards")
            },
            "domains": [
                {"id": "primary", "displayName": "Primary", "hosts": ["primary.example.org"]},
                {"id": "open", "requireAuthentication": False},
            ],
        },
    )  # fmt: skip


WAYS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "mirror": mirror,
    "whole": whole,
    "everything": everything,
}
way = pytest.mark.parametrize("way", WAYS)


def found_in(way: str) -> list[Document]:
    return documents(WAYS[way]())


# What the real programs say


@way
def test_helm_lint_has_nothing_to_say(way: str) -> None:
    told = helm.lint(CHART, WAYS[way](), strict=True)
    assert [each for each in told["messages"] if "icon" not in each["error"]] == []


@pytest.fixture(autouse=True, scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    """The validator reads megabytes of schemas for each document."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents)
        )
        yield


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_keeps_to_the_schemas_of_kubernetes(version: str) -> None:
    checked = set()
    for each in found_in("everything"):
        if each["apiVersion"].startswith("monitoring.coreos.com/"):
            continue  # no schema of Kubernetes' own: see below
        kubernetes_validate.validate(each, version, strict=True)
        checked.add(each["kind"])
    assert checked == {
        "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy",
        "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize("way", ["mirror", "whole"])
def test_what_the_values_files_make_keeps_to_the_schema_of_the_newest_kubernetes(way: str) -> None:
    for each in found_in(way):
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)


def test_a_mistyped_field_does_not_pass_that_check() -> None:
    wrong = json.loads(json.dumps(named(found_in("mirror"), "Deployment", "stellaops-concelier")))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


# Kinds of the Prometheus operator, by the fields of its API that the chart may use

_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "required": ["matchLabels"],
    "properties": {"matchLabels": _TEXTS},
}
_TLS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"insecureSkipVerify": {"type": "boolean"}},
}
_METRIC = {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}
_SERVICE_MONITOR = {
    "type": "object", "additionalProperties": False, "required": ["selector", "endpoints"],
    "properties": {
        "selector": _SELECTOR,
        "endpoints": {"type": "array", "minItems": 1, "items": {
            "type": "object", "additionalProperties": False, "required": ["port"],
            "properties": {
                "port": {"type": "string"}, "path": {"type": "string", "pattern": "^/"}, "interval": _DURATION,
                "scheme": {"enum": ["http", "https"]},
                "tlsConfig": _TLS,
            },
        }},
    },
}  # fmt: skip
_PROMETHEUS_RULE = {
    "type": "object", "additionalProperties": False, "required": ["groups"],
    "properties": {"groups": {"type": "array", "minItems": 1, "items": {
        "type": "object", "additionalProperties": False, "required": ["name", "rules"],
        "properties": {
            "name": {"type": "string", "minLength": 1}, "interval": _DURATION, "limit": {"type": "integer"},
            "labels": _TEXTS,
            "rules": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "required": ["expr"],
                "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
                "properties": {
                    "alert": {"type": "string", "minLength": 1}, "record": _METRIC,
                    "expr": {"type": ["string", "integer"]}, "for": _DURATION, "keep_firing_for": _DURATION,
                    "labels": _TEXTS, "annotations": _TEXTS,
                },
            }},
        },
    }}},
}  # fmt: skip


def test_monitors_name_a_port_of_a_service_that_there_is() -> None:
    found = found_in("everything")
    monitors = [each for each in found if each["kind"] == "ServiceMonitor"]
    assert {each["metadata"]["name"] for each in monitors} == {
        "stellaops-api", "stellaops-concelier", "stellaops-excititor", "stellaops-mirror-gateway",
    }  # fmt: skip
    for each in monitors:
        jsonschema.validate(each["spec"], _SERVICE_MONITOR)
        service = named(found, "Service", each["metadata"]["name"])
        assert each["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        for endpoint in each["spec"]["endpoints"]:
            assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_the_rules_of_prometheus_come_as_they_are() -> None:
    if not (CHART / "files" / "rules.yaml").is_file():
        pytest.skip("deploy/helm/stellaops/files/rules.yaml is made by `make docs`")
    rule = named(found_in("everything"), "PrometheusRule", "stellaops")
    jsonschema.validate(rule["spec"], _PROMETHEUS_RULE)
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "rules.yaml").read_text(encoding="utf-8"))
    for group in rule["spec"]["groups"]:
        for each in group["rules"]:
            promql_parser.parse(str(each["expr"]))


def test_dashboards_come_as_they_are() -> None:
    files = (CHART / "files" / "dashboards").glob("*.json")
    own = {each.name: each.read_text(encoding="utf-8") for each in files}
    found = named(found_in("everything"), "ConfigMap", "stellaops-dashboards")
    assert (found["data"] or {}) == own
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


# What a cluster would find: nothing names what is not there


@way
def test_what_selects_pods_selects_some(way: str) -> None:
    found = found_in(way)
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(found)}
    for each in found:
        spec = each.get("spec", {})
        match each["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                wanted = spec["selector"]["matchLabels"]
            case "NetworkPolicy":
                wanted = spec["podSelector"]["matchLabels"]
            case _:
                continue
        chosen = [name for name, own in labels.items() if wanted.items() <= own.items()]
        assert chosen == [each["metadata"]["name"]], each["kind"]


@way
def test_services_and_probes_name_ports_that_containers_have(way: str) -> None:
    found = found_in(way)
    for name, template in pod_templates(found):
        ports = {port["name"] for each in containers(template) for port in each.get("ports", [])}
        for each in found:
            if each["kind"] == "Service" and each["metadata"]["name"] == name:
                assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
        for each in containers(template):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = each.get(probe, {}).get("httpGet")
                assert asked is None or asked["port"] in {port["name"] for port in each["ports"]}


@way
def test_mounts_and_volumes_belong_together(way: str) -> None:
    found = found_in(way)
    for name, template in pod_templates(found):
        volumes = {each["name"] for each in template["spec"].get("volumes", [])}
        mounted = {mount["name"] for each in containers(template) for mount in each["volumeMounts"]}
        assert mounted == volumes, name
        for each in containers(template):
            paths = [mount["mountPath"] for mount in each["volumeMounts"]]
            assert len(paths) == len(set(paths)), name


@way
def test_configurations_claims_and_accounts_are_there(way: str) -> None:
    found = found_in(way)
    given = {"ConfigMap/our-ca"} | names(found)
    for name, template in pod_templates(found):
        assert f"ServiceAccount/{template['spec']['serviceAccountName']}" in given
        for volume in template["spec"].get("volumes", []):
            if "configMap" in volume:
                assert f"ConfigMap/{volume['configMap']['name']}" in given, name
            if "persistentVolumeClaim" in volume:
                assert f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}" in given, name
        for each in containers(template):
            for source in each.get("envFrom", []):
                if "configMapRef" in source:
                    assert f"ConfigMap/{source['configMapRef']['name']}" in given, name


@way
def test_addresses_of_services_are_those_of_services_that_there_are(way: str) -> None:
    found = found_in(way)
    ports = {
        f"{each['metadata']['name']}:{port['port']}"
        for each in found
        if each["kind"] == "Service"
        for port in each["spec"]["ports"]
    }
    text = json.dumps([each for each in found if each["kind"] in ("ConfigMap", "Pod")])
    named_here = set(re.findall(r"://(?:[a-z]+@)?(stellaops-[a-z-]+:\d+)", text))
    assert named_here
    assert named_here <= ports


def _peers(rules: list[Document], side: str) -> Iterator[Mapping[str, str]]:
    for rule in rules:
        for peer in rule.get(side, []):
            if "podSelector" in peer:
                yield peer["podSelector"]["matchLabels"]


def test_whom_a_part_may_reach_lets_it_in() -> None:
    """Each way that one policy opens, the other end's policy opens too."""
    found = found_in("everything")
    policies = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "NetworkPolicy"}
    ways = {
        (name, peer["app.kubernetes.io/name"])
        for name, spec in policies.items()
        for peer in _peers(spec.get("egress", []), "to")
    }
    assert ("stellaops-mirror-gateway", "stellaops-concelier") in ways
    assert ("export-center-worker", "stellaops-postgres") in ways
    assert ("mirror-sync", "stellaops-objects") in ways
    assert not [way for way in ways if way[0] == "mirror-sync" and way[1] == "stellaops-postgres"]
    for source, target in ways:
        rules = policies[target]["ingress"]
        open_to_all = any("from" not in rule for rule in rules)
        let_in = {peer["app.kubernetes.io/name"] for peer in _peers(rules, "from")}
        assert open_to_all or source in let_in, (source, target)


def test_every_part_has_a_policy() -> None:
    found = found_in("everything")
    parts = {name for name, _ in pod_templates(found)} - {"stellaops-smoke"}
    assert {each["metadata"]["name"] for each in found if each["kind"] == "NetworkPolicy"} == parts


# How pods run


@way
def test_images_are_named_by_digest(way: str) -> None:
    for name, template in pod_templates(found_in(way)):
        for each in containers(template):
            assert re.fullmatch(r"[a-z0-9./:-]+@sha256:[0-9a-f]{64}", each["image"]), name


@way
def test_pods_have_no_more_rights_than_they_need(way: str) -> None:
    for name, template in pod_templates(found_in(way)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"
        for each in containers(template):
            own = each["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert each["resources"]["limits"]["memory"]
            assert {"name": "tmp", "mountPath": "/tmp"} in each["volumeMounts"]
            for mount in each["volumeMounts"]:
                if mount["mountPath"].startswith("/run/") or mount["name"].startswith("secret"):
                    assert mount["readOnly"] is True or mount["name"] == "run"


@way
def test_back_ends_read_the_trees_and_only_the_sync_writes_them(way: str) -> None:
    writers = set()
    for name, template in pod_templates(found_in(way)):
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in template["spec"].get("volumes", [])
            if "persistentVolumeClaim" in volume
        }
        for each in containers(template):
            for mount in each["volumeMounts"]:
                claim = claims.get(mount["name"], "")
                if claim.endswith("-exports") and not mount.get("readOnly"):
                    writers.add(name)
    assert writers == {"mirror-sync"}


@way
def test_all_that_serve_are_probed(way: str) -> None:
    for name, template in pod_templates(found_in(way)):
        for each in template["spec"]["containers"]:
            if "ports" in each:
                assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(each), name
            elif each["name"] == "worker":
                assert each["readinessProbe"]["exec"]["command"] == ["stella-health", "worker"]
                assert "livenessProbe" not in each


def test_a_mirror_host_has_no_stores_no_queue_and_no_signing_key() -> None:
    found = found_in("mirror")
    assert {name for name, _ in pod_templates(found)} == {
        "mirror-sync", "stellaops-concelier", "stellaops-excititor", "stellaops-mirror-gateway", "stellaops-smoke",
    }  # fmt: skip
    assert not re.search(r"STELLA_(STORE|ARTEFACTS|KEY)_", json.dumps(found))


def test_volumes_of_one_node_bring_their_pods_together_and_others_do_not() -> None:
    def tied(values: Mapping[str, Any]) -> set[str]:
        found = set()
        for name, template in pod_templates(documents(values)):
            term = template["spec"].get("affinity", {}).get("podAffinity")
            label = template["metadata"]["labels"].get("stellaops.io/volumes")
            assert (term is None) == (label is None), name
            if term is not None:
                (wanted,) = term["requiredDuringSchedulingIgnoredDuringExecution"]
                assert (
                    wanted["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
                )
                found.add(name)
        return found

    sides = ("concelier", "excititor")
    assert tied(mirror()) == {"mirror-sync", *(f"stellaops-{side}" for side in sides)}
    assert tied(mirror(persistence={side: {"accessMode": "ReadWriteMany"} for side in sides})) == set()
    assert {"stellaops-api", "export-center-worker", "mirror-publish", "mirror-sync"} < tied(whole())


# Names and settings


@way
def test_names_are_those_that_operators_know(way: str) -> None:
    found = names(found_in(way))
    assert {
        "Deployment/stellaops-mirror-gateway", "Deployment/stellaops-concelier", "Deployment/stellaops-excititor",
        "Service/stellaops-mirror-gateway", "CronJob/mirror-sync",
        "PersistentVolumeClaim/concelier-mirror-exports", "PersistentVolumeClaim/excititor-mirror-exports",
    } <= found  # fmt: skip
    if way != "mirror":
        assert {"Deployment/export-center-worker", "PersistentVolumeClaim/concelier-mirror-jobs"} <= found
    if way == "everything":
        assert {
            "PersistentVolumeClaim/mirror-postgres-data", "PersistentVolumeClaim/mirror-objects-data",
        } <= found  # fmt: skip


def test_the_sync_is_asked_every_five_minutes_and_never_twice_at_once() -> None:
    spec = named(found_in("mirror"), "CronJob", "mirror-sync")["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("*/5 * * * *", "Forbid")


def test_claims_have_room_for_each_domain_and_outlive_the_release() -> None:
    def size(values: Mapping[str, Any]) -> str:
        claim = named(documents(values), "PersistentVolumeClaim", "concelier-mirror-exports")
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        return str(claim["spec"]["resources"]["requests"]["storage"])

    assert size(mirror()) == "40Gi"
    assert size(mirror(domains=[{"id": "primary"}])) == "20Gi"
    assert size(mirror(persistence={"concelier": {"size": "1Ti"}})) == "1Ti"


def secrets_of(found: list[Document]) -> set[str]:
    """Names of the secrets that pods take something from."""
    here = set()
    for _, template in pod_templates(found):
        for volume in template["spec"].get("volumes", []):
            sources = [volume, *volume.get("projected", {}).get("sources", [])]
            for each in sources:
                told = each.get("secret", {})
                here |= {told[key] for key in ("secretName", "name") if key in told}
        for each in containers(template):
            here |= {
                source["secretRef"]["name"] for source in each.get("envFrom", []) if "secretRef" in source
            }
    return here


def test_secrets_are_taken_by_name_and_none_is_made() -> None:
    assert secrets_of(found_in("mirror")) == {
        "mirror-gateway-tls",
        "mirror-gateway-htpasswd",
        "mirror-sync-aws",
    }
    assert secrets_of(found_in("everything")) == {
        "mirror-gateway-tls", "mirror-gateway-htpasswd", "mirror-sync-aws", "concelier-mirror-auth",
        "excititor-mirror-auth", "stellaops-postgres", "stellaops-objects", "objects-key", "key-passphrase",
        "gateway-db", "stella-admin", "stella-api-tls", "smtp", "hooks",
    }  # fmt: skip
    assert not [each for way in WAYS for each in found_in(way) if each["kind"] == "Secret"]


def test_every_secret_is_told_of_in_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operate" / "kubernetes.md").read_text(encoding="utf-8")
    fixed = {"concelier-mirror-auth", "excititor-mirror-auth", "stellaops-postgres", "stellaops-objects"}
    for name in secrets_of(found_in("mirror")) | fixed:
        assert f"`{name}`" in page, name


def test_the_examples_of_the_page_can_be_installed() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operate" / "kubernetes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page.replace("sha256:…", OTHER_DIGEST), re.DOTALL)
    host, service, *more = map(yaml.safe_load, blocks)
    documents(merged(mirror(), host))
    for each in more:
        service = merged(service, each)
    assert len(more) >= 2
    found = dict(pod_templates(documents(service)))
    assert found["stellaops-api"]["spec"]["containers"][0]["image"].endswith(OTHER_DIGEST)


@way
def test_the_environment_holds_settings_that_the_product_knows(way: str) -> None:
    found = found_in(way)
    known = {variable for _, variable, _ in describe()} | {"TMPDIR"}
    for name in ("stellaops-mirror-gateway", "stellaops-concelier", "stellaops-excititor"):
        data = named(found, "ConfigMap", name)["data"]
        host = read_mirror_host({}, data)  # refuses what is unknown or wrong
        assert host.unknown == ()
        mirrors = ("CONCELIER__", "EXCITITOR__", "GATEWAY__")
        assert {each for each in data if not each.startswith(mirrors)} <= known
    for name in ("mirror-sync", "stellaops-service"):
        if f"ConfigMap/{name}" in names(found):
            data = named(found, "ConfigMap", name)["data"]
            assert set(data) <= known, name
            load({}, data)


def _variables(text: str, pattern: str) -> set[str]:
    return {re.sub(r"__\d+__", "__0__", name) for name in re.findall(pattern, text, re.MULTILINE)}


def test_settings_are_those_of_compose_under_the_same_names() -> None:
    """What an operator finds in the environment files of Compose can be said in values, but for what follows."""
    compose = CHART.parents[1] / "compose"
    told = set()
    for file in compose.glob("env/*.env.example"):
        told |= _variables(file.read_text(encoding="utf-8"), r"^#?([A-Z][A-Z0-9_]+)=")
    for file in compose.glob("docker-compose*.yaml"):
        told |= _variables(file.read_text(encoding="utf-8"), r"^ +([A-Z][A-Z0-9_]+): ")
    own = {name.replace("__N__", "__0__") for name, _ in describe_mirror_host()}
    known = {variable for _, variable, _ in describe()} | own
    more = {
        "gateway": {"publicBaseUrl": "https://cdn.example.org", "trustedProxies": ["10.0.0.0/8"]},
        "artefacts": {"region": "eu-central-1"},
        "publish": {"region": "eu-central-1"},
        "api": {"publicUrl": "https://stella.example.org"},
    }
    found = documents(merged(everything(), more))
    made = {name for each in found if each["kind"] == "ConfigMap" for name in each["data"] or {}}
    # Values say this of each domain.
    by_domain = {f"{side.upper()}__MIRROR__REQUIREAUTHENTICATION" for side in SIDES}
    of_nginx = {"GATEWAY__PROXYLOG"}  # the chart has none: what stands before a cluster logs there
    assert len(told & known) > 40
    assert (told & known) - {re.sub(r"__\d+__", "__0__", name) for name in made} == by_domain | of_nginx


def test_numbers_of_settings_stay_whole() -> None:
    values = whole(api={"settings": {"STELLA_PULL_MAX_FILE_SIZE": 8589934592, "STELLA_OFFLINE": False}})
    data = named(documents(values), "ConfigMap", "stellaops-service")["data"]
    assert (data["STELLA_PULL_MAX_FILE_SIZE"], data["STELLA_OFFLINE"]) == ("8589934592", "false")


def test_further_secret_files_lie_where_settings_name_them() -> None:
    told = [{"secret": "smtp", "key": "password", "path": "notify/smtp"}]
    found = dict(pod_templates(documents(whole(secretFiles=told))))
    for name in ("stellaops-api", "export-center-worker", "mirror-publish"):
        (volume,) = [each for each in found[name]["spec"]["volumes"] if each["name"] == "secrets"]
        wanted = {"secret": {"name": "smtp", "items": [{"key": "password", "path": "notify/smtp"}]}}
        assert wanted in volume["projected"]["sources"]


def test_secrets_of_channels_lie_by_tenant_and_name_and_the_mail_server_can_be_reached() -> None:
    found = found_in("everything")
    for name, template in pod_templates(found):
        if name in ("stellaops-api", "export-center-worker"):
            (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "notify"]
            (source,) = volume["projected"]["sources"]
            assert source["secret"] == {"name": "hooks", "items": [{"key": "slack", "path": "acme/slack"}]}
            rules = named(found, "NetworkPolicy", name)["spec"]["egress"]
            assert 587 in [port["port"] for rule in rules for port in rule["ports"]]


def _outside(found: Sequence[Document], name: str) -> dict[str, set[int]]:
    """Networks that a policy lets a part reach, with the ports."""
    ways: dict[str, set[int]] = {}
    for rule in named(found, "NetworkPolicy", name)["spec"].get("egress", []):
        for peer in rule["to"]:
            if "ipBlock" in peer:
                ways.setdefault(peer["ipBlock"]["cidr"], set()).update(each["port"] for each in rule["ports"])
    return ways


def _store(address: str) -> dict[str, Any]:
    return {"evidence": address, "service": address}


_WORKER, _GATEWAY, _SYNC = "export-center-worker", "stellaops-mirror-gateway", "mirror-sync"


@pytest.mark.parametrize(
    ("values", "part", "reached"),
    [
        (whole(), _WORKER, {"0.0.0.0/0": {443, 5432}}),
        (whole(networkPolicy={"databases": ["10.9.0.0/16"]}), _WORKER, {"0.0.0.0/0": {443}, "10.9.0.0/16": {5432}}),
        (
            whole(store=_store("postgresql://s@one:6432,two/x?a=b"), networkPolicy={"databases": ["10.9.0.0/16"]}),
            _WORKER, {"0.0.0.0/0": {443}, "10.9.0.0/16": {5432, 6432}},
        ),
        (whole(store=_store("postgresql://s@[2001:db8::1]:7432/x")), _WORKER, {"0.0.0.0/0": {443, 7432}}),
        (whole(artefacts={"endpoint": "https://minio:9000"}), _WORKER, {"0.0.0.0/0": {443, 5432, 9000}}),
        (whole(publish={"endpoint": "https://minio:9001/x"}), "mirror-publish", {"0.0.0.0/0": {443, 5432, 9001}}),
        (whole(egress={"proxy": "http://proxy:3128"}), "stellaops-api", {"0.0.0.0/0": {443, 3128, 5432}}),
        (
            whole(api={"settings": {"STELLA_HASHIVAULT_ADDRESS": "https://vault:8200", "STELLA_API_PUBLIC_URL": "https://x:9"}}),
            _WORKER, {"0.0.0.0/0": {443, 5432, 8200}},
        ),
        (mirror(), _GATEWAY, {}),
        (
            mirror(gateway={"replicas": 2, "state": {"address": "postgresql://g@db:5433/g"}}),
            _GATEWAY, {"0.0.0.0/0": {5433}},
        ),
        (
            mirror(mirror={"authority": {"url": "https://stella.example.org:8443"}}),
            _GATEWAY, {"0.0.0.0/0": {443, 8443}},
        ),
        (
            mirror(concelier={"settings": {"STELLA_TRACING_ENDPOINT": "http://collector:4318"}}),
            "stellaops-concelier", {"0.0.0.0/0": {443, 4318}},
        ),
        (mirror(sync={"source": "https://m:8443", "awsSecretForm": "none"}), _SYNC, {"0.0.0.0/0": {443, 8443}}),
        (mirror(sync={"source": "oci://m:5000/x", "awsSecretForm": "none"}), _SYNC, {"0.0.0.0/0": {443, 5000}}),
        (mirror(sync={"source": "rsync://m/x", "awsSecretForm": "none"}), _SYNC, {"0.0.0.0/0": {443, 873}}),
        (mirror(sync={"endpoint": "http://objects:8333"}), _SYNC, {"0.0.0.0/0": {443, 8333}}),
    ],
)  # fmt: skip
def test_policies_open_the_ports_of_the_addresses_that_values_name(
    values: dict[str, Any], part: str, reached: dict[str, set[int]]
) -> None:
    assert _outside(documents(values), part) == reached


def test_stores_of_the_chart_open_nothing_outside() -> None:
    own = merged(everything(), {"networkPolicy": {"databases": ["10.9.0.0/16"]}})
    assert _outside(documents(own), _WORKER) == {"0.0.0.0/0": {443, 587}}
    assert _outside(documents(own), _GATEWAY)["10.9.0.0/16"] == {5432}


def test_the_gateway_counts_budgets_and_the_back_ends_do_not() -> None:
    found = found_in("mirror")
    hosts = {
        name: read_mirror_host({}, named(found, "ConfigMap", name)["data"])
        for name in ("stellaops-mirror-gateway", "stellaops-concelier", "stellaops-excititor")
    }
    gateway = hosts["stellaops-mirror-gateway"]
    for side in SIDES:
        assert gateway.sides[side].upstream == f"http://stellaops-{side}:8080"
        assert gateway.sides[side].indexes_per_hour == 600
        downloads = {name: rules.downloads_per_hour for name, rules in gateway.sides[side].domains.items()}
        assert downloads == {"primary": 3600, "community": 1200}
        own = hosts[f"stellaops-{side}"].sides[side]
        assert own.indexes_per_hour == 0
        assert {rules.downloads_per_hour for rules in own.domains.values()} == {0}
        assert {rules.require_authentication for rules in own.domains.values()} == {True}
    assert gateway.domains["community"].hosts == ("mirror-community.stella-ops.org",)
    assert hosts["stellaops-concelier"].sides["concelier"].root == Path("/exports/json")
    assert hosts["stellaops-excititor"].sides["excititor"].root == Path("/exports")


def test_changed_settings_make_new_pods() -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        template = dict(pod_templates(documents(values)))["stellaops-mirror-gateway"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    more = [{"id": "primary", "maxDownloadRequestsPerHour": 7}]
    assert checksum(mirror(domains=more)) != checksum(mirror(domains=[{"id": "primary"}]))
    assert checksum(mirror(podDisruptionBudget={"enabled": False})) == checksum(mirror())


# Examples


def test_the_load_balancer_of_the_example_is_what_the_service_says() -> None:
    example = values_file("examples/load-balancer-aws.yaml")
    service = named(documents(mirror(**example)), "Service", "stellaops-mirror-gateway")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerClass"] == "service.k8s.aws/nlb"
    annotations = service["metadata"]["annotations"]
    assert annotations == example["gateway"]["service"]["annotations"]
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert any("idle_timeout" in value for value in annotations.values())


def test_the_rule_for_the_metrics_adapter_gives_what_the_autoscaler_asks_for() -> None:
    (rule,) = values_file("examples/prometheus-adapter.yaml")["rules"]["external"]
    scaler = named(found_in("everything"), "HorizontalPodAutoscaler", "export-center-worker")["spec"]
    (metric,) = scaler["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"] == "exporter_jobs_ready"
    promql_parser.parse(rule["seriesQuery"])
    query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="stella"')
    promql_parser.parse(query)
    assert query == 'sum(max by (profile) (exporter_jobs_ready{namespace="stella"}))'
    assert scaler["scaleTargetRef"]["name"] == "export-center-worker"
    assert "replicas" not in named(found_in("everything"), "Deployment", "export-center-worker")["spec"]
    assert rule["resources"]["overrides"] == {"namespace": {"resource": "namespace"}}


def test_the_notes_say_what_has_to_be_there_and_what_comes_next() -> None:
    with helm.Chart.load(CHART) as chart:
        text = chart.render(everything(), name="mirror", namespace="stella")["stellaops/templates/NOTES.txt"]
    for word in (
        "mirror-gateway-tls",
        "mirror-primary.htpasswd",
        "cronjob/mirror-sync",
        "prometheus-adapter",
    ):
        assert word in text, word


# Values that are wrong


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": {"digest": None}}, "missing property 'digest'"),
        ({"image": {"digest": "latest"}}, "does not match pattern"),
        ({"image": {"repository": None}}, "missing property 'repository'"),
        ({"image": {"tag": "1.0"}}, "'tag' not allowed"),
        ({"gatway": {}}, "'gatway' not allowed"),
        ({"gateway": {"replica": 2}}, "'replica' not allowed"),
        ({"gateway": {"replicas": 0}}, "minimum"),
        ({"gateway": {"replicas": "2"}}, "got string, want integer"),
        ({"gateway": {"service": {"type": "Loadbalancer"}}}, "/gateway/service/type"),
        ({"gateway": {"trustedProxies": ["10.1.0.0"]}}, "/gateway/trustedProxies/0"),
        ({"gateway": {"state": {"address": "postgresql://a:secret@db/x"}}}, "/gateway/state/address"),
        ({"gateway": {"settings": {"lower": "x"}}}, "invalid propertyName 'lower'"),
        ({"domains": []}, "/domains"),
        ({"domains": [{"id": "Primary"}]}, "/domains/0/id"),
        ({"domains": [{"displayName": "x"}]}, "missing property 'id'"),
        ({"domains": [{"id": "a", "maxDownloadRequestsPerHour": -1}]}, "minimum"),
        ({"sync": {"schedule": "every minute"}}, "/sync/schedule"),
        ({"sync": {"source": "file:///x"}}, "/sync/source"),
        ({"sync": {"publicKeys": {"mirror-key.pub": "-----BEGIN PRIVATE KEY-----"}}}, "/sync/publicKeys"),
        ({"sync": {"awsSecretForm": "env"}}, "/sync/awsSecretForm"),
        ({"persistence": {"concelier": {"accessMode": "ReadOnlyMany"}}}, "/persistence/concelier/accessMode"),
        ({"persistence": {"jobs": {"size": "20GB"}}}, "/persistence/jobs/size"),
        ({"podSecurity": {"uid": 0}}, "minimum"),
        ({"postgres": {"enabled": True}}, "/postgres/image"),
        ({"objects": {"enabled": True, "image": {"repository": "x/y"}}}, "missing property 'digest'"),
        ({"api": {"ingress": {"enabled": True}}}, "/api/ingress/host"),
        ({"api": {"publicUrl": "http://plain.example.org"}}, "/api/publicUrl"),
        ({"mirror": {"authority": {"url": "https://a:b@host"}}}, "/mirror/authority/url"),
        ({"worker": {"resources": {"limits": {"memory": "4 Gi"}}}}, "/worker/resources/limits/memory"),
    ],
)
def test_wrong_values_are_refused_by_the_schema(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=re.escape(said)):
        documents(mirror(**values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (mirror(gateway={"replicas": 2}), "set gateway.state.address"),
        (mirror(sync={"publicKeys": None}), "sync.publicKeys: at least one public key"),
        (mirror(concelier={"enabled": False}, excititor={"enabled": False}), "nothing to serve"),
        (mirror(gateway={"tls": {"secretName": ""}}), "domains: primary has no certificate"),
        (mirror(domains=[{"id": "a"}, {"id": "a", "tenant": "b"}]), "domains: a is there twice"),
        (
            mirror(sync={"source": "https://m.example.org", "awsSecretForm": "environment"}),
            "sync.awsSecretForm",
        ),
        (mirror(monitoring={"serviceMonitor": {"enabled": True}}), "podNetworks"),
        (whole(store={"service": ""}), "store.evidence, store.service"),
        (whole(artefacts={"store": ""}), "artefacts.store: name a bucket"),
        (
            whole(networkPolicy={"outbound": []}),
            "networkPolicy.databases: no policy lets pods reach PostgreSQL",
        ),
        (
            mirror(gateway={"state": {"address": "postgresql://g@db/g"}}, networkPolicy={"outbound": []}),
            "networkPolicy.databases",
        ),
        (whole(worker={"replicas": 2}), "persistence.jobs.accessMode"),
        (whole(worker={"autoscaling": {"enabled": True}}), "persistence.jobs.accessMode"),
        (whole(api={"replicas": 2}), "persistence.jobs.accessMode"),
        (whole(objects={"enabled": True, "image": IMAGE}), "egress.allowPrivate"),
        (
            merged(everything(), {"artefacts": {"keySecret": {"name": ""}}}),
            "artefacts.keySecret.name: the object store",
        ),
        (
            merged(everything(), {"worker": {"autoscaling": {"maxReplicas": 1, "minReplicas": 2}}}),
            "less than minReplicas",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_do(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(helm.HelmRenderError, match=re.escape(said)):
        documents(values)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = whole(store={"service": ""}, artefacts={"store": ""}, gateway={"replicas": 3})
    with pytest.raises(helm.HelmRenderError) as told:
        documents(wrong)
    assert str(told.value).count("\n  - ") == 3


# What each value does

_CHOSEN: dict[str, Any] = {
    "image.pullPolicy": "Always",
    "image.pullSecrets": ["registry"],
    "serviceAccount.annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"},
    "podNetworks": ["10.1.0.0/16"],
    "domains": [{"id": "primary", "displayName": "P", "tenant": "acme", "tlsSecret": "own"}],
    "mirror.authority.url": "https://other.example.org",
    "gateway.state.address": "postgresql://other@db:5432/gateway",
    "gateway.sharedCache": "keyed",
    "gateway.service.type": "NodePort",
    "gateway.service.externalTrafficPolicy": "Cluster",
    "gateway.publicBaseUrl": "https://cdn.example.org",
    "store.evidence": "postgresql://a@b:5432/evidence",
    "store.service": "postgresql://a@b:5432/service",
    "artefacts.store": "s3://other/prefix",
    "artefacts.endpoint": "https://s3.example.org",
    "keys.firstKey": "hashivault://{tenant}",
    "secretFiles": [{"secret": "smtp", "key": "password", "path": "smtp"}],
    "notify.smtp.security": "tls",
    "notify.channelSecrets": [{"tenant": "acme", "name": "teams", "secret": "hooks", "key": "teams"}],
    "keys.allow": ["hashivault://{tenant}"],
    "egress.allowHttp": ["plain.example.org"],
    "egress.proxy": "https://proxy.example.org",
    "egress.noProxy": ["near.example.org"],
    "sync.source": "https://mirror.example.org",
    "sync.endpoint": "https://s3.example.org",
    "sync.awsSecretForm": "environment",
    "sync.publicKeys": {"other.pub": PUBLIC_KEY},
    "sync.trustTenants": ["acme"],
    "sync.keep": "48h",
    "sync.domains": ["primary"],
    "sync.schedule": "0 * * * *",
    "api.publicUrl": "https://stella.example.org",
    "api.service.type": "NodePort",
    "publish.schedule": "0 * * * *",
    "publish.target": "s3://other",
    "publish.endpoint": "https://s3.example.org",
    "worker.autoscaling.metric": "other_metric",
    "worker.autoscaling.selector": {"stella": "one"},
    "podSecurity.seccompProfile": "Unconfined",
    "networkPolicy.dns": [{"namespaceSelector": {}}],
    "networkPolicy.outbound": [{"cidr": "10.0.0.0/8"}],
    "networkPolicy.outboundPorts": [8443],
    "networkPolicy.databases": ["10.9.0.0/16"],
    "monitoring.serviceMonitor.interval": "10s",
}
_GIVEN: dict[str, dict[str, Any]] = {
    "gateway.tls.secretName": at("domains", [{"id": "primary"}]),
    "worker.replicas": at("worker.autoscaling.enabled", False),
    "sync.credentialsSecret": at(
        "sync", {"source": "https://m.example.org", "credentialsSecret": {"name": "login"}}
    ),
    "store.passwordSecret": at("store.passwordSecret.name", "stella-db"),
    "objects.enabled": at("artefacts.store", "s3://bundles/exports"),
    "postgres.enabled": at(
        "store", {"evidence": "postgresql://a@b:5432/c", "service": "postgresql://a@b:5432/c"}
    ),
    "networkPolicy.monitoringNamespace": at("api.allowFrom", ["10.0.0.0/8"]),
}
"""What has to stand beside a value that it may show, by the beginning of its path."""


_BY_NAME: dict[str, Any] = {
    **{name: {"example.org/other": "yes"} for name in ("nodeSelector", "podAnnotations", "annotations", "labels")},
    **{name: ["10.7.0.0/16"] for name in ("allowFrom", "trustedProxies", "loadBalancerSourceRanges", "allowPrivate")},
    **dict.fromkeys(("size", "cacheSize", "scratchSize", "memory"), "7Gi"),
    "settings": {"STELLA_LOG_LEVEL": "debug"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "digest": OTHER_DIGEST,
    "activeExportId": "a" * 26,
    "cpu": "3",
}  # fmt: skip


def other(path: str, before: Any) -> Any:
    """Another value for a path."""
    name = path.rpartition(".")[2]
    if path in _CHOSEN or name in _BY_NAME:
        return _CHOSEN.get(path, _BY_NAME.get(name))
    if isinstance(before, int):
        return (not before) if isinstance(before, bool) else before + 1
    if name == "accessMode":
        return "ReadWriteOncePod" if before == "ReadWriteMany" else "ReadWriteMany"
    return "other"


def _flat(document: Document) -> dict[str, Any]:
    texts = document.get("data") or {}
    rest = {name: value for name, value in document.items() if name != "data"}
    return {**{f"data.{name}": value for name, value in texts.items()}, **dict(_paths(rest, ""))}


def _paths(value: Any, before: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _paths(inner, f"{before}.{name}" if before else str(name))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            label = inner.get("name", place) if isinstance(inner, dict) else place
            yield from _paths(inner, f"{before}[{label}]")
    else:
        yield before, value


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What other values add, remove and change, without the checksums that follow from it."""
    before, after = templates(first), templates(second)
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    here, there = (_by_name(each, differing) for each in (before, after))
    found = [f"- {name}" for name in here.keys() - there.keys()]
    found += [f"+ {name}" for name in there.keys() - here.keys()]
    for name in here.keys() & there.keys():
        for path in {**here[name], **there[name]}:
            if here[name].get(path) != there[name].get(path) and "checksum/settings" not in path:
                found.append(f"{name} {_shortened(path)}")
    return sorted(set(found))


def _shortened(path: str) -> str:
    """Rules and arguments count as one thing each: `spec.egress[2]`, `containers[api].args`."""
    return re.sub(r"((?:in|e)gress\[\d+\]|\.args(?=\[)).*", r"\1", path)


def _by_name(texts: Mapping[str, str], chosen: list[str]) -> dict[str, dict[str, Any]]:
    found = [each for name in chosen for each in parsed(texts.get(name, ""))]
    return {f"{each['kind']}/{each['metadata']['name']}": _flat(each) for each in found}


def _effect(path: str, before: Any) -> list[str]:
    base = everything()
    for beginning, given in _GIVEN.items():
        if path.startswith(beginning):
            base = merged(base, given)
    return difference(base, merged(base, at(path, other(path, before))))


def _switches(*, quick: bool = False) -> dict[str, list[str]]:
    base = merged(values_file("values.yaml"), everything())
    known = dict(leaves(values_file("values.yaml")))
    known |= {"image.repository": "", "image.digest": "", "domains": []}
    told = dict(leaves(base))
    chosen = [path for path in sorted(known) if path not in _ELSEWHERE]
    if quick:
        chosen = [path for path in chosen if isinstance(known[path], bool)]
    return {path: _effect(path, told.get(path, known[path])) for path in chosen}


_ELSEWHERE = {"postgres.image", "objects.image"}
"""Values that are given as a whole; they have tests of their own."""


def test_every_switch_does_what_it_did() -> None:
    told = json.loads(SWITCHES.read_text(encoding="utf-8"))
    found = _switches(quick=True)
    assert len(found) > 20
    assert found == {path: told[path] for path in found}


@pytest.mark.slow
def test_every_value_does_what_it_did() -> None:
    """A value without any effect is a mistake; so is one that reaches more than it did.

    After a change that is meant: `python -m tests.unit.deploy.test_helm_chart` writes the file anew; read its diff.
    """
    found = _switches()
    assert [path for path, effect in found.items() if not effect] == []
    assert found == json.loads(SWITCHES.read_text(encoding="utf-8"))


def test_durations_and_networks_of_the_values_are_what_the_product_takes() -> None:
    values = values_file("values.yaml")
    assert durations.parse(values["sync"]["keep"]) is not None
    for each in values["networkPolicy"]["outbound"]:
        outer = ip_network(each["cidr"])
        assert all(ip_network(inner).subnet_of(outer) for inner in each["except"])  # type: ignore[arg-type]


if __name__ == "__main__":
    SWITCHES.parent.mkdir(parents=True, exist_ok=True)
    SWITCHES.write_text(json.dumps(_switches(), indent=1) + "\n", encoding="utf-8")

"""Pods of the rendered chart as plain processes: their commands, variables, volumes and probes, without a cluster.

Each container gets a directory as its root, with its volumes where it mounts them; paths in its command and variables
lead there. Names of services lead to ports of this machine.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.api import free_port
from tests.support.helm import Document, documents, named, pod_templates

_IMAGE_SCRIPTS = Path(__file__).parents[2] / "deploy" / "docker"
_PATIENCE = 60.0


@dataclass
class Served:
    """A container that listens, or works, until it is stopped."""

    process: subprocess.Popen[bytes]
    container: Document
    port: int
    log: Path

    def probe(self, kind: str) -> int:
        """The status that a probe of the container gets; 0 where nothing answers."""
        asked = self.container[kind]["httpGet"]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as the kubelet asks
        try:
            url = f"{asked['scheme'].lower()}://127.0.0.1:{self.port}{asked['path']}"
            with urllib.request.urlopen(url, timeout=5, context=context) as reply:  # noqa: S310
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@dataclass
class Pods:
    """What a release makes, on this machine.

    Attributes:
        secrets: content of the secrets, by name and key.
        configs: content of ConfigMaps that the release does not make.
        addresses: where else names with ports are found, such as of a database.
    """

    values: Mapping[str, Any]
    place: Path
    secrets: Mapping[str, Mapping[str, str | bytes]]
    configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.documents = documents(self.values)
        self._templates = dict(pod_templates(self.documents))
        for each in self.documents:
            if each["kind"] == "Service":
                for port in each["spec"]["ports"]:
                    name = f"{each['metadata']['name']}:{port['port']}"
                    self.addresses.setdefault(name, f"127.0.0.1:{free_port()}")

    def claim(self, name: str) -> Path:
        """The directory of a claim."""
        return self._made(self.place / "claims" / name)

    def run(
        self, pod: str, container: str | None = None, arguments: Sequence[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A container to its end.

        Args:
            container: the first one where None.
            arguments: instead of its own, as by `kubectl exec`.
        """
        command, variables, root = self._prepared(pod, self._container(pod, container), arguments)
        return subprocess.run(
            command, env=variables, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )  # fmt: skip

    def ready_command(self, pod: str) -> subprocess.CompletedProcess[str]:
        """What the readiness probe of a container without a port says."""
        container = self._container(pod, None)
        _, variables, root = self._prepared(pod, container, None)
        command = container["readinessProbe"]["exec"]["command"]
        return subprocess.run(
            command, env=variables, cwd=root, capture_output=True, text=True, check=False, timeout=60
        )

    @contextmanager
    def serving(self, pod: str) -> Iterator[Served]:
        """A container until the end, stopped by SIGTERM as the kubelet does."""
        container = self._container(pod, None)
        command, variables, root = self._prepared(pod, container, None)
        log = self._made(self.place / "logs") / f"{pod}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, env=variables, cwd=root, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            yield Served(process, container, self._port(pod), log)
        finally:
            process.terminate()
            try:
                process.wait(self._templates[pod]["spec"].get("terminationGracePeriodSeconds", 30))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def _container(self, pod: str, name: str | None) -> Document:
        spec = self._templates[pod]["spec"]
        every = [*spec["containers"], *spec.get("initContainers", [])]
        return next(each for each in every if name in (None, each["name"]))

    def _port(self, pod: str) -> int:
        own = [address for name, address in self.addresses.items() if name.startswith(f"{pod}:")]
        return int(own[0].rpartition(":")[2]) if own else 0

    def _prepared(
        self, pod: str, container: Document, arguments: Sequence[str] | None
    ) -> tuple[list[str], dict[str, str], Path]:
        root = self._rooted(pod, container)
        paths = sorted((mount["mountPath"] for mount in container["volumeMounts"]), key=len, reverse=True)
        pattern = re.compile(rf"(?<![\w/.-])({'|'.join(map(re.escape, paths))})(?=$|[/\s])")

        def here(text: str) -> str:
            text = pattern.sub(lambda found: f"{root}{found[1]}", text)
            for name, address in self.addresses.items():
                text = text.replace(name, address)
            return text

        words = [here(word) for word in (*container["command"], *(arguments or container.get("args", [])))]
        if "--port" in words:
            words[words.index("--port") + 1] = str(self._port(pod))
            words[words.index("--host") + 1] = "127.0.0.1"
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{_IMAGE_SCRIPTS}:{os.environ.get('PATH', '')}",
            "HOME": str(root),
        }
        for name, value in self._variables(container).items():
            variables[name] = here(value)
        return words, variables, root

    def _variables(self, container: Document) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self._config(source["configMapRef"]["name"])
            else:
                given = self.secrets[source["secretRef"]["name"]]
                found |= {
                    name: value if isinstance(value, str) else value.decode() for name, value in given.items()
                }
        return found

    def _config(self, name: str) -> Mapping[str, str]:
        if name in self.configs:
            return self.configs[name]
        data: Mapping[str, str] | None = named(self.documents, "ConfigMap", name)["data"]
        return data or {}

    def _rooted(self, pod: str, container: Document) -> Path:
        root = self._made(self.place / "roots" / f"{pod}-{container['name']}")
        volumes = {each["name"]: each for each in self._templates[pod]["spec"]["volumes"]}
        for mount in sorted(container["volumeMounts"], key=lambda mount: len(mount["mountPath"])):
            source = self._volume(pod, volumes[mount["name"]])
            if "subPath" in mount:
                source = self._made(source / mount["subPath"])
            target = root / mount["mountPath"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                target.symlink_to(source)
        return root

    def _volume(self, pod: str, volume: Document) -> Path:
        if "persistentVolumeClaim" in volume:
            return self.claim(volume["persistentVolumeClaim"]["claimName"])
        place = self._made(self.place / "volumes" / pod / volume["name"])
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            if "secret" in source:
                told = source["secret"]
                _fill(place, self.secrets[told.get("secretName") or told["name"]], told.get("items"))
            elif "configMap" in source:
                told = source["configMap"]
                _fill(place, self._config(told["name"]), told.get("items"))
        return place

    @staticmethod
    def _made(place: Path) -> Path:
        place.mkdir(parents=True, exist_ok=True)
        return place


def _fill(place: Path, content: Mapping[str, str | bytes], items: Sequence[Mapping[str, str]] | None) -> None:
    """The files of a volume; a key that is not there keeps a pod from starting."""
    chosen = [(each["key"], each["path"]) for each in items] if items else [(key, key) for key in content]
    for key, path in chosen:
        value = content[key]
        file = place / path
        file.unlink(missing_ok=True)
        file.write_bytes(value.encode() if isinstance(value, str) else value)
        file.chmod(0o400)


def until_answers(probe: str, *parts: Served) -> None:
    """Wait until each answers a probe with 200."""
    end = time.monotonic() + _PATIENCE
    for part in parts:
        while part.probe(probe) != 200:
            assert part.process.poll() is None, part.log.read_text()
            assert time.monotonic() < end, part.log.read_text()
            time.sleep(0.1)

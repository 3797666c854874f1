"""Brokers that run on Java, from jars that Maven fetches once: Kafka and Pulsar."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import ClassVar

from redkite.errors import Unavailable
from redkite.launch.parts import READY_SECONDS, Server, jars_folder


class JavaPart(Server):
    """A broker that runs on Java, from jars that Maven fetches once."""

    artifacts: ClassVar[tuple[str, ...]] = ()
    without: ClassVar[str] = ""
    memory: ClassVar[str] = "512m"

    def __init__(self, folder: Path, jars: Path | None = None) -> None:
        super().__init__(folder)
        self._jars = jars or jars_folder() / self.name.lower()

    def missing(self) -> list[str]:
        lacking = []
        if shutil.which("java") is None:
            lacking.append(f"{self.name} needs Java 17: apt install openjdk-17-jre-headless, or set `log` to a broker")
        if not self._jars.exists() and shutil.which("mvn") is None:
            lacking.append(
                f"{self.name} is fetched by Maven, which is not on the PATH: apt install maven, or put its jars into "
                f"{self._jars}, or set `log` to a broker that runs"
            )
        return lacking

    def prepare(self) -> None:
        if not self._jars.exists():
            fetch_jars(self._jars, self.artifacts, self.without)

    def java(self, *words: object) -> list[str]:
        """A command that runs a class out of the jars."""
        flags = [f"-Xmx{self.memory}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*"]
        return ["java", *flags, *map(str, words)]

    def write_settings(self, name: str, settings: Mapping[str, object]) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path


def fetch_jars(folder: Path, artifacts: Sequence[str], without: str = "") -> None:
    """Have Maven fetch libraries (`group:artifact:version`) and what they need. Raises Unavailable."""
    excluded = f"<exclusions><exclusion>{_coordinates(without)}</exclusion></exclusions>" if without else ""
    wanted = "".join(f"<dependency>{_coordinates(artifact)}{excluded}</dependency>" for artifact in artifacts)
    made = folder.with_name(folder.name + ".part")
    made.mkdir(parents=True, exist_ok=True)
    (made / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>redkite</groupId><artifactId>broker</artifactId>"
        f"<version>1</version><dependencies>{wanted}</dependencies></project>"
    )
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=jars"]
    try:
        subprocess.run(command, cwd=made, check=True, timeout=900, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", b"") or b""
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
        raise Unavailable(f"Maven could not fetch {artifacts[0]}: {last[0]}") from error
    (made / "jars").rename(folder)
    shutil.rmtree(made)


def _coordinates(artifact: str) -> str:
    kinds = ("groupId", "artifactId", "version")
    return "".join(f"<{kind}>{text}</{kind}>" for kind, text in zip(kinds, artifact.split(":"), strict=False))


class Kafka(JavaPart):
    """One broker in KRaft mode."""

    name = "Kafka"
    port_count = 2
    artifacts = ("org.apache.kafka:kafka_2.13:3.9.1", "org.slf4j:slf4j-nop:1.7.36")

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        return {"log": f"kafka://{self.server}"}

    def properties(self) -> dict[str, object]:
        """What its file of settings says."""
        controller = f"{self.host}:{self.ports[1]}"
        return {
            "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.server},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.server}", "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self.folder / "data", "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1, "log.retention.check.interval.ms": 1000,
        }  # fmt: skip

    def prepare(self) -> None:
        super().prepare()
        path = self.write_settings("server.properties", self.properties())
        if not (self.folder / "data" / "meta.properties").exists():
            formatting = self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", path)
            try:
                subprocess.run(formatting, capture_output=True, timeout=READY_SECONDS, check=True)
            except (OSError, subprocess.SubprocessError) as error:
                said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
                raise Unavailable(f"Kafka's folder {self.folder} could not be formatted: {said or error}") from error

    def command(self) -> Sequence[str]:
        return self.java("kafka.Kafka", self.folder / "server.properties")


class Pulsar(JavaPart):
    """Broker, bookie and metadata in one process."""

    name = "Pulsar"
    port_count = 3
    artifacts = ("org.apache.pulsar:pulsar-broker:4.0.7", "org.slf4j:slf4j-nop:1.7.36")
    without = "org.apache.pulsar:jetcd-core-shaded"

    @property
    def url(self) -> str:
        return f"pulsar://{self.host}:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.host}:{self.ports[1]}"

    @property
    def settings(self) -> Mapping[str, str]:
        return {"log": f"{self.url}/public/default", "log_options.admin_url": self.admin_url}

    def prepare(self) -> None:
        super().prepare()
        self.write_settings("standalone.conf", {
            "clusterName": "standalone", "advertisedAddress": self.host, "bindAddress": self.host,
            "brokerServicePort": self.port, "webServicePort": self.ports[1], "managedLedgerDefaultEnsembleSize": 1,
            "managedLedgerDefaultWriteQuorum": 1, "managedLedgerDefaultAckQuorum": 1, "loadBalancerEnabled": "false",
            "transactionCoordinatorEnabled": "false", "systemTopicEnabled": "false", "diskUsageThreshold": 0.999,
            "topicLevelPoliciesEnabled": "false", "diskUsageWarnThreshold": 0.998, "diskUsageLwmThreshold": 0.997,
        })  # fmt: skip

    def command(self) -> Sequence[str]:
        opened = ("java.base/java.nio", "java.base/java.util.zip", "java.base/sun.nio.ch", "java.base/java.lang",
                  "java.management/sun.management", "jdk.management/com.sun.management.internal")  # fmt: skip
        return self.java(
            *(word for package in opened for word in ("--add-opens", f"{package}=ALL-UNNAMED")),
            "org.apache.pulsar.PulsarStandaloneStarter", "--config", self.folder / "standalone.conf",
            "--no-functions-worker", "--no-stream-storage", "--metadata-dir", self.folder / "metadata",
            "--bookkeeper-dir", self.folder / "bookkeeper", "--bookkeeper-port", self.ports[2],
        )  # fmt: skip

    def is_ready(self) -> bool:
        if not super().is_ready():
            return False
        with suppress(OSError, HTTPException):
            connection = HTTPConnection(self.host, self.ports[1], timeout=2)
            connection.request("GET", "/admin/v2/persistent/public/default")
            return connection.getresponse().status == 200
        return False

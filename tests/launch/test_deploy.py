"""The examples in deploy/: they are read, and every setting, option, port and name in them exists."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from redkite import cli
from redkite.cluster.config import ROLES, ClusterConfig, load, mistakes
from redkite.cluster.places import read_log
from redkite.config import Settings
from redkite.launch.child import start, wait_until
from redkite.launch.parts import S3Gateway, answers_at, free_ports

yaml = pytest.importorskip("yaml")
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIGS = sorted(DEPLOY.rglob("*.toml"))


def command(line: str) -> Any:
    """A command line of ours, as it is read. Raises SystemExit for one that is not."""
    words = shlex.split(line)
    assert words[0].endswith("redkite")
    parsed, unknown = cli.parser().parse_known_args(words[1:])
    assert not unknown
    return parsed


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_config_is_right(path: Path) -> None:
    assert mistakes(str(path)) == []
    assert load(file=str(path), environment={}).sources


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_command_in_a_comment_can_be_given(path: Path) -> None:
    text = path.read_text() if path.is_file() else ""
    for line in re.findall(r"^#.*?(redkite cluster [^`#\n]*)", text.replace("\\\n#", " "), re.MULTILINE):
        words = re.split(r"[`’,.](?:\s|$)", line)[0].strip()
        if not words.endswith(("up", "config")):
            command(words)


# -- systemd ------------------------------------------------------------------------------------
def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name)
    return parser


@pytest.mark.parametrize("role", ROLES)
def test_the_unit_runs_a_node_of_each_role(role: str) -> None:
    line = unit("redkite@.service")["Service"]["ExecStart"].replace("%i", role)
    parsed = command(line)
    assert (parsed.command, parsed.action, parsed.role) == ("cluster", "node", role)
    assert f"redkite@{role}.service" in unit("redkite.target")["Unit"]["Wants"]


def test_the_unit_waits_for_what_a_node_says_and_hands_over() -> None:
    from redkite.launch.node import DRAIN_SECONDS

    service = unit("redkite@.service")["Service"]
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > DRAIN_SECONDS


def test_the_unit_of_one_server_has_the_command_end_what_it_has_started() -> None:
    text = (DEPLOY.parent / "docs" / "operations.md").read_text()
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text.split("```text\n")[1].split("```")[0])
    assert command(parser["Service"]["ExecStart"]).command == "serve"
    assert parser["Service"]["KillMode"] == "mixed"
    assert int(parser["Service"]["TimeoutStopSec"]) > Settings().shutdown_seconds


def test_the_unit_may_write_where_the_config_says() -> None:
    config = load(file=str(DEPLOY / "cluster.toml"), environment={}).config
    service = unit("redkite@.service")["Service"]
    assert config.state == f"/var/lib/{service['StateDirectory']}"
    assert config.cache_path == f"/var/cache/{service['CacheDirectory']}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "redkite@.service").read_text()
    instance = tmp_path / "redkite@query.service"
    instance.write_text(text.replace("/opt/redkite/bin/redkite", "/bin/true"))
    target = tmp_path / "redkite.target"
    shutil.copy(DEPLOY / "systemd" / "redkite.target", target)
    words = ["systemd-analyze", "verify", instance, target]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Failed to" in done.stderr and "initialize" in done.stderr:
        pytest.skip("systemd-analyze does not work in this container")
    assert [line for line in done.stderr.splitlines() if "redkite" in line] == []


# -- compose ------------------------------------------------------------------------------------
def test_compose_runs_the_parts_where_its_config_looks_for_them() -> None:
    (content,) = documents(DEPLOY / "compose" / "compose.yaml")
    config = load(file=str(DEPLOY / "compose" / "cluster.toml"), environment={}).config
    published = {name: service["ports"][0].rsplit(":", 1)[0] for name, service in content["services"].items()}
    assert published["etcd"] == config.etcd[0]
    assert published["kafka"] == read_log(config.log).servers[0]
    assert f"http://{published['s3']}" in config.objects
    assert content["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].endswith(published["kafka"])
    assert "mkdir -p /data/buckets/redkite" in content["services"]["s3"]["entrypoint"][2]
    for service in content["services"].values():
        named = {volume.partition(":")[0] for volume in service["volumes"]}
        assert named <= content["volumes"].keys()
    built = content["services"]["etcd"]["build"]
    assert (DEPLOY / "compose" / built["dockerfile"]).is_file()


def test_compose_gives_kafka_the_settings_that_our_own_one_has(tmp_path: Path) -> None:
    """A name that Kafka does not know would be passed over in silence."""
    from redkite.launch.brokers import Kafka

    (content,) = documents(DEPLOY / "compose" / "compose.yaml")
    given = content["services"]["kafka"]["environment"]
    ours = {f"KAFKA_{name.replace('.', '_').upper()}" for name in Kafka(tmp_path).properties()}
    assert set(given) <= ours


def begins(folder: Path, words: list[str], environment: dict[str, str], port: int) -> bool:
    """Whether a server of this command line answers at a port."""
    output = folder / "output.log"
    process = start(words, output, environment, folder)
    try:
        return wait_until(lambda: answers_at(port) or not process.is_alive, 30) and process.is_alive
    finally:
        process.kill()


def service(name: str, folder: Path, **ports: int) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a service, in a folder and on ports of this machine."""
    (content,) = documents(DEPLOY / "compose" / "compose.yaml")
    found = content["services"][name]
    words = [*found.get("entrypoint", ()), *found["command"]]
    for old, port in ports.items():
        words = [re.sub(rf":{old[1:]}\b", f":{port}", word) for word in words]
    placed = [word.replace("/data", str(folder)).replace("$$", "$") for word in words]
    return placed, found.get("environment", {})


def test_etcd_takes_the_command_line_of_compose(tmp_path: Path) -> None:
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not here")
    client, peer = free_ports(2)
    words, environment = service("etcd", tmp_path, _2379=client)
    peers = ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls",
             f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}"]  # fmt: skip
    assert begins(tmp_path, [*words, *peers], environment, client)


def test_the_store_takes_the_command_line_of_compose(tmp_path: Path) -> None:
    program = S3Gateway.program()
    if program is None:
        pytest.skip("versitygw is not here")
    (port,) = free_ports(1)
    words, environment = service("s3", tmp_path, _9000=port)
    path = f"{Path(program).parent}:{os.environ['PATH']}"
    assert begins(tmp_path, words, {**environment, "PATH": path}, port)
    assert (tmp_path / "buckets" / "redkite").is_dir()


# -- KubeRay ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return {one["kind"]: one for one in documents(DEPLOY / "kuberay" / "redkite.yaml")}


@pytest.fixture(scope="module")
def config(manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> ClusterConfig:
    path = tmp_path_factory.mktemp("kuberay") / "cluster.toml"
    path.write_text(manifest["ConfigMap"]["data"]["cluster.toml"])
    assert mistakes(str(path)) == []
    return load(file=str(path), environment={}).config


def groups(manifest: dict[str, Any]) -> dict[str, Any]:
    return {group["groupName"]: group for group in manifest["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]}


class Shape(NamedTuple):
    """The fields of one kind of object."""

    needed: frozenset[str]
    others: frozenset[str] = frozenset()


RAY: dict[str, Shape] = {
    "RayJob": Shape(
        frozenset({"entrypoint", "rayClusterSpec"}),
        frozenset({
            "runtimeEnvYAML", "jobId", "submissionMode", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
            "clusterSelector", "submitterPodTemplate", "metadata", "suspend", "entrypointNumCpus", "entrypointNumGpus",
            "entrypointResources",
        }),
    ),
    "RayCluster": Shape(
        frozenset({"headGroupSpec", "workerGroupSpecs", "rayVersion"}),
        frozenset({"enableInTreeAutoscaling", "autoscalerOptions", "headServiceAnnotations", "suspend"}),
    ),
    "head": Shape(
        frozenset({"rayStartParams", "template"}), frozenset({"serviceType", "headService", "enableIngress"})
    ),
    "worker": Shape(
        frozenset({"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}),
        frozenset({"replicas", "numOfHosts", "scaleStrategy"}),
    ),
    "template": Shape(frozenset({"spec"}), frozenset({"metadata"})),
    "pod": Shape(
        frozenset({"containers"}),
        frozenset({"volumes", "terminationGracePeriodSeconds", "nodeSelector", "tolerations", "affinity"}),
    ),
    "container": Shape(
        frozenset({"name", "image"}),
        frozenset({"env", "envFrom", "ports", "resources", "volumeMounts", "command", "args", "lifecycle"}),
    ),
    "port": Shape(frozenset({"containerPort"}), frozenset({"name", "protocol"})),
    "mount": Shape(frozenset({"name", "mountPath"}), frozenset({"readOnly", "subPath"})),
}  # fmt: skip
"""Of `ray.io/v1` as KubeRay 1.1 has it, which drops a field of another name in silence; and of pods, what is used."""


def fields(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """An object whose fields are those of its kind."""
    shape = RAY[kind]
    assert shape.needed <= given.keys(), f"a {kind} lacks {sorted(shape.needed - given.keys())}"
    unknown = given.keys() - shape.needed - shape.others
    assert not unknown, f"a {kind} has no {sorted(unknown)}"
    return given


def test_the_manifest_has_the_fields_of_the_resources_that_the_operator_defines(manifest: dict[str, Any]) -> None:
    assert manifest["RayJob"]["apiVersion"] == "ray.io/v1"
    cluster = fields("RayCluster", fields("RayJob", manifest["RayJob"]["spec"])["rayClusterSpec"])
    workers = [fields("worker", group) for group in cluster["workerGroupSpecs"]]
    assert len({group["groupName"] for group in workers}) == len(workers)
    assert all(group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] for group in workers)
    for group in (fields("head", cluster["headGroupSpec"]), *workers):
        params = group["rayStartParams"]
        assert all(isinstance(text, str) for pair in params.items() for text in pair), "it is a map of strings"
        pod = fields("pod", fields("template", group["template"])["spec"])
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            fields("container", container)
            assert {fields("mount", mount)["name"] for mount in container["volumeMounts"]} <= volumes
            for port in container.get("ports", ()):
                fields("port", port)


def test_the_job_brings_the_cluster_up_with_the_config_that_is_mounted(manifest: dict[str, Any]) -> None:
    spec = manifest["RayJob"]["spec"]
    parsed = command(spec["entrypoint"])
    assert (parsed.action, parsed.ray_address) == ("up", "auto")
    assert not spec["shutdownAfterJobFinishes"]
    pod = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (mounted,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "config"]
    assert parsed.config == f"{mounted['mountPath']}/cluster.toml"
    (volume,) = [v for v in pod["volumes"] if v["name"] == "config"]
    assert volume["configMap"]["name"] == manifest["ConfigMap"]["metadata"]["name"]


def test_the_pods_have_room_for_every_node_that_the_config_asks_for(
    manifest: dict[str, Any], config: ClusterConfig
) -> None:
    room: dict[str, float] = {}
    for group in groups(manifest).values():
        params = group["rayStartParams"]
        room["cpus"] = room.get("cpus", 0) + group["replicas"] * float(params["num-cpus"])
        for label, amount in json.loads(json.loads(params.get("resources", '"{}"'))).items():
            room[label] = room.get(label, 0) + group["replicas"] * amount
    needs: dict[str, float] = {}
    for role in ROLES:
        one = config.resources[role]
        needs["cpus"] = needs.get("cpus", 0) + config.count(role) * one.cpus
        for label, amount in one.labels.items():
            needs[label] = needs.get(label, 0) + config.count(role) * amount
    assert needs.keys() <= room.keys()
    assert all(room[name] >= amount for name, amount in needs.items()), (needs, room)


def test_the_service_finds_the_proxies_at_the_ports_of_the_config(
    manifest: dict[str, Any], config: ClusterConfig
) -> None:
    pod = groups(manifest)["proxies"]["template"]
    assert pod["metadata"]["labels"] == manifest["Service"]["spec"]["selector"]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert ports == {"milvus": config.settings.port, "metrics": config.settings.metrics_port}
    assert {port["targetPort"] for port in manifest["Service"]["spec"]["ports"]} == ports.keys()


def test_ray_is_of_the_version_that_we_are_tested_with_and_waits_for_its_head(manifest: dict[str, Any]) -> None:
    from redkite.launch.parts import RAY_PATIENCE_SECONDS

    spec = manifest["RayJob"]["spec"]["rayClusterSpec"]
    constraints = (DEPLOY.parent / "constraints.txt").read_text()
    assert f"ray=={spec['rayVersion']}\n" in constraints
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        environment = {one["name"]: one["value"] for one in group["template"]["spec"]["containers"][0]["env"]}
        assert environment["RAY_gcs_rpc_server_reconnect_timeout_s"] == str(RAY_PATIENCE_SECONDS)


def test_the_image_installs_an_extra_that_exists() -> None:
    import tomllib

    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    (extra,) = re.findall(r"/usr/src/redkite\[(\w+)\]", (DEPLOY / "kuberay" / "Dockerfile").read_text())
    assert extra in project["optional-dependencies"]

"""The config of a cluster: which source wins, and what a wrong value is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from redkite.cluster.config import (
    COUNT_KEYS,
    ROLES,
    ClusterConfig,
    Resources,
    TlsFiles,
    decode,
    encode,
    environment_name,
    items,
    load,
    mistakes,
)
from redkite.cluster.places import read_log
from redkite.config import ConfigError
from redkite.config import load as load_settings


def written(folder: Path, text: str, name: str = "cluster.toml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_without_any_source_every_value_is_the_default() -> None:
    configuration = load(environment={})
    assert configuration.config == ClusterConfig()
    assert configuration.sources == {}


def test_an_argument_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "query = 5\nstreaming = 6\ndata = 7\n")
    variables = {"REDKITE_CLUSTER_QUERY": "8", "REDKITE_CLUSTER_STREAMING": "9"}
    configuration = load(file=path, environment=variables, arguments={"query": 10, "proxies": None})
    chosen = configuration.config
    assert (chosen.query, chosen.streaming, chosen.data, chosen.proxies) == (10, 9, 7, 1)
    assert configuration.sources == {
        "query": "argument", "streaming": "environment REDKITE_CLUSTER_STREAMING", "data": f"file {path}",
    }  # fmt: skip


def test_every_section_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        name = "shop"
        etcd = ["a:2379", "b:2379"]
        cache_bytes = "2GB"
        [tls]
        ca = "/ca.pem"
        certificate = "/node.pem"
        key = "/node.key"
        [log_options]
        "security.protocol" = "SSL"
        [resources.query]
        cpus = 2
        memory = "16GB"
        labels = { ssd = 1 }
        [settings]
        port = 19531
        [settings.limits]
        max_topk = 7
        """,
    )
    chosen = load(file=path, environment={"REDKITE_SEAL_ROWS": "99"}).config
    assert chosen.etcd == ("a:2379", "b:2379")
    assert chosen.cache_bytes == 2 << 30
    assert chosen.tls == TlsFiles(ca="/ca.pem", certificate="/node.pem", key="/node.key")
    assert chosen.log_options == {"security.protocol": "SSL"}
    assert chosen.resources == {"query": Resources(cpus=2, memory=16 << 30, labels={"ssd": 1})}
    assert (chosen.settings.port, chosen.settings.limits.max_topk, chosen.settings.seal_rows) == (19531, 7, 99)


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    toml = written(tmp_path, 'name = "shop"\netcd = ["a:1"]\n[resources.query]\nmemory = "1GB"\n')
    yaml = written(tmp_path, "name: shop\netcd: ['a:1']\nresources:\n  query: {memory: 1GB}\n", "cluster.yaml")
    assert load(file=toml, environment={}).config == load(file=yaml, environment={}).config


def test_the_environment_may_name_the_file_and_lists_are_separated_by_commas(tmp_path: Path) -> None:
    path = written(tmp_path, "query = 3\n")
    variables = {"REDKITE_CLUSTER_CONFIG": path, "REDKITE_CLUSTER_ETCD": "a:1, b:2"}
    chosen = load(environment=variables).config
    assert (chosen.query, chosen.etcd) == (3, ("a:1", "b:2"))


def test_variables_of_a_cluster_do_not_disturb_a_server() -> None:
    assert load_settings(environment={"REDKITE_CLUSTER_QUERY": "3"}).sources == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qurey = 1", "unknown setting 'qurey' (file {path}); did you mean query?"),
        (
            "port = 1",
            "'port' (file {path}); it is one of the engine: write it in the section [settings]",
        ),
        ("query = 0", "query (file {path}): 0 must be 1 to 4096"),
        ("query = 'many'", "query = 'many' (file {path}): Expected `int`, got `str`"),
        ("lease_seconds = 0.1", "lease_seconds (file {path}): 0.1 must be 1 to 60"),
        ("name = 'My Cluster'", "expected at most 64 lower-case letters"),
        ("name = ''", "name (file {path}): must not be empty"),
        ("etcd = ['a']", "etcd (file {path}): 'a': expected host:port, as 10.0.0.5:2379"),
        ("etcd = ['http://a:1']", "expected host:port"),
        ("etcd = []", "etcd (file {path}): must not be empty"),
        ("log = 'redis://a:1'", "log (file {path}): 'redis://a:1': expected kafka://host:port"),
        ("log = 'kafka://a'", "log (file {path}): 'a': expected host:port"),
        ("log = 'pulsar://a:1/x'", "'x' is no tenant/namespace"),
        ("objects = 'data'", "a folder is written from the root on"),
        ("objects = 'ftp://x'", "objects (file {path}): 'ftp://x': expected one of s3://bucket"),
        ("objects = 's3://x?endpont=y'", "unknown setting endpont; known are endpoint and region"),
        ("cache_bytes = 'much'", "cache_bytes (file {path}): 'much' is no size"),
        ("cache_bytes = 5", "cache_bytes (file {path}): 5 must be"),
        ("[tls]\nca = '/a'", "Object missing required field `certificate`"),
        ("[resources.querry]\ncpus = 1", "Invalid enum value 'querry'"),
        ("[resources.query]\ncpu = 1", "[resources.query] knows no 'cpu'"),
        ("[resources.query]\nmemory = 'x'", "'x' is no size"),
        ("etcd_password = 'x'", "etcd_password (file {path}) is set without etcd_user: set both"),
        ("etcd_key = 'x'", "etcd_key (file {path}) is set without etcd_certificate"),
        ("log = 'pulsar://a:1'\n[log_options]\nfoo = '1'", "Pulsar has no option 'foo'"),
        ("log = 'pulsar://a:1'\nlog_replicas = 3", "goes with Kafka"),
        ("settings = 3", "[settings] in {path} must be a section"),
        ("[settings]\nprot = 1", "unknown setting 'prot' (file {path}, [settings]); did you mean port?"),
        ("[settings]\ndata = 'x'", "settings.data (file {path}, [settings]) is of no use in a cluster"),
        ("[settings]\nworkers = 4", "further proxies take its place"),
        ("query =", "{path} is not valid TOML"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_its_place_and_what_is_expected(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file=path, environment={})
    assert message.format(path=path) in caught.value.message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("REDKITE_CLUSTER_QUERY", "\udcff", "query (environment REDKITE_CLUSTER_QUERY): it is no text in UTF-8"),
        ("REDKITE_CLUSTER_STATE", "a\udcff", "state (environment REDKITE_CLUSTER_STATE): it is no text in UTF-8"),
        ("REDKITE_PORT", "\udcff", "port (environment REDKITE_PORT): it is no text in UTF-8"),
        ("REDKITE_CLUSTER_CACHE_BYTES", "9" * 400, "is more than any disk or memory has"),
        ("REDKITE_MEMORY_LIMIT", "9" * 400, "is more than any disk or memory has"),
    ],
)
def test_bytes_and_numbers_that_mean_nothing_are_refused_by_their_variable(name: str, value: str, message: str) -> None:
    """A variable may hold any bytes; those that are no text come as halves of characters."""
    with pytest.raises(ConfigError) as caught:
        load(environment={name: value})
    assert message in caught.value.message


def test_a_section_of_yaml_has_names_for_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "settings: {1: 2}\n", "cluster.yaml")
    with pytest.raises(ConfigError, match=r"\[settings\] in .*cluster.yaml has the key 1, which is no name"):
        load(file=path, environment={})


def test_a_misspelt_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown environment variable REDKITE_CLUSTER_QUREY; did you mean"):
        load(environment={"REDKITE_CLUSTER_QUREY": "1"})


def test_a_file_that_is_not_there_is_told_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"cannot read the cluster's config file /nowhere\.toml: No such file"):
        load(file="/nowhere.toml", environment={})


def test_secrets_are_neither_shown_nor_quoted_in_errors(tmp_path: Path) -> None:
    path = written(tmp_path, "etcd_user = 'u'\netcd_password = 'hush'\n[log_options]\nx = 'hush'\n")
    assert "hush" not in load(file=path, environment={}).explain()
    with pytest.raises(ConfigError) as caught:
        load(file=written(tmp_path, "[log_options]\nx = 'hush'\ny = 3\n"), environment={})
    assert "hush" not in caught.value.message


def test_a_node_that_reads_no_file_gets_the_very_same_config(tmp_path: Path) -> None:
    path = written(tmp_path, "query = 3\n[resources.query]\ncpus = 2\n[settings.quotas]\nsearch = { user = 3 }\n")
    config = load(file=path, environment={}).config
    assert decode(encode(config)) == config
    with pytest.raises(ConfigError, match="cannot be read"):
        decode(b'{"query": "x"}')


def test_every_role_has_a_count_and_every_key_a_variable() -> None:
    config = ClusterConfig(coordinators=1, streaming=2, query=3, data=4, proxies=5)
    assert [config.count(role) for role in ROLES] == [1, 2, 3, 4, 5]
    assert set(COUNT_KEYS.values()) <= {key for key, _ in items(config)}
    assert environment_name("lease_seconds") == "REDKITE_CLUSTER_LEASE_SECONDS"


def test_the_place_of_the_log_is_read_whole() -> None:
    assert read_log("kafka://a:1,b:2").servers == ("a:1", "b:2")
    assert read_log("pulsar+ssl://a:1/t/n") == ("pulsar", ("a:1",), "t/n", True)
    assert read_log("pulsar://a:1").namespace == "public/default"


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "qurey = 1\nlease_seconds = 0\nlog = 'x'\n[settings]\nprot = 1\n")
    found = mistakes(path)
    assert [line.split(" ", 1)[0] for line in found] == ["unknown", "lease_seconds", "log", "unknown"]
    below = "[settings]\nprot = 1\ntoo = 2\nquotas = 3\nport = 'x'\n[settings.credential.a]\nb = 1\n"
    found = mistakes(written(tmp_path, f"lease_seconds = 0\n{below}"))
    assert len(found) == 6
    for line, word in zip(found, ("lease_seconds", "quotas", "credential.a", "prot", "too", "port"), strict=True):
        assert word in line
    assert mistakes(written(tmp_path, "query = 1\n")) == []
    with pytest.raises(ConfigError, match="cannot read"):
        mistakes("/nowhere.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7", "::"])
def test_strangers_do_not_get_in_with_a_password_that_everybody_knows(tmp_path: Path, host: str) -> None:
    open_to_others = f"[settings]\nhost = '{host}'\n"
    with pytest.raises(ConfigError, match="root_password is not set, and other machines can reach"):
        load(file=written(tmp_path, open_to_others), environment={})
    for enough in ("root_password = 'a-secret-1'", "authorization = 'off'"):
        load(file=written(tmp_path, f"{open_to_others}{enough}\n"), environment={})
    load(file=written(tmp_path, "[settings]\nhost = '127.0.0.1'\nauthorization = 'on'\n"), environment={})

"""Settings: which source wins, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from redkite.config import ConfigError, Settings, items, load, mistakes
from redkite.model.limits import Limits


def settings_file(folder: Path, text: str) -> str:
    path = folder / "redkite.toml"
    path.write_text(text)
    return str(path)


def test_without_any_source_every_value_is_the_default() -> None:
    configuration = load(environment={})
    assert configuration.settings == Settings()
    assert configuration.sources == {}


def test_an_argument_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "port = 1\nmetrics_port = 2\nthreads = 3\n")
    configuration = load(
        file=path,
        environment={"REDKITE_PORT": "11", "REDKITE_METRICS_PORT": "12"},
        arguments={"port": 21, "host": None},
    )
    chosen = configuration.settings
    assert (chosen.port, chosen.metrics_port, chosen.threads, chosen.host) == (21, 12, 3, "127.0.0.1")
    assert configuration.sources == {
        "port": "argument",
        "metrics_port": "environment REDKITE_METRICS_PORT",
        "threads": f"file {path}",
    }


def test_limits_have_their_own_section_and_variables(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "[limits]\nmax_topk = 5\nmax_nq = 6\n")
    limits = load(file=path, environment={"REDKITE_LIMITS_MAX_NQ": "7"}).settings.limits
    assert (limits.max_topk, limits.max_nq, limits.max_fields) == (5, 7, Limits().max_fields)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    path = settings_file(tmp_path, "port = 4\n")
    assert load(environment={"REDKITE_CONFIG": path}).settings.port == 4


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load(environment={"PORT": "1", "MILVUS_URI": "x"}).settings == Settings()


@pytest.mark.parametrize(
    ("file", "environment", "arguments", "message"),
    [
        ("prot = 1", {}, {}, "unknown setting 'prot' (file {path}); did you mean port?"),
        ("[limits]\nmax_topkk = 1", {}, {}, "did you mean limits.max_topk?"),
        ("limits = 3", {}, {}, "[limits] in {path} must be a section"),
        ("port = ", {}, {}, "{path} is not valid TOML"),
        ("port = 'x'", {}, {}, "port = 'x' (file {path}): Expected `int`"),
        ("", {"REDKITE_PROT": "1"}, {}, "unknown environment variable REDKITE_PROT; did you mean REDKITE_PORT?"),
        ("", {"REDKITE_PORT": "many"}, {}, "port = 'many' (environment REDKITE_PORT)"),
        ("", {}, {"port": 65536}, "port = 65536 (argument): must be 0 to 65535"),
        ("", {}, {"seal_rows": 0}, "seal_rows = 0 (argument): must be more than 0"),
        ("", {}, {"seal_idle_seconds": float("nan")}, "must be more than 0"),
        ("", {}, {"threads": -1}, "must be 0 or more"),
        ("", {}, {"log_level": "loud"}, "log_level = 'loud'"),
        ("", {"REDKITE_DATA": ""}, {}, "data must not be empty"),
        ("front = 'envoy'", {}, {"workers": 2}, "workers = 2 goes with front = own"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_source(
    tmp_path: Path, file: str, environment: dict[str, str], arguments: dict[str, object], message: str
) -> None:
    path = settings_file(tmp_path, file)
    with pytest.raises(ConfigError) as caught:
        load(file=path, environment=environment, arguments=arguments)
    assert message.format(path=path) in caught.value.message


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration file .*nowhere\.toml: No such file"):
        load(file="nowhere.toml", environment={})


def test_explain_shows_each_key_with_its_value_and_source() -> None:
    lines = load(environment={"REDKITE_PORT": "19531"}).explain().splitlines()
    assert [line.split()[0] for line in lines] == [key for key, _ in items(Settings())]
    assert "19531" in (port := next(line for line in lines if line.startswith("port ")))
    assert port.endswith("environment REDKITE_PORT")


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    wrong = "prot = 1\nmetrics_port = 'x'\nfront = 'envoy'\nworkers = 2\n[limits]\nmax_topkk = 1\n"
    path = settings_file(tmp_path, wrong)
    found = mistakes(path)
    assert len(found) == 4
    assert found[0] == f"unknown setting 'prot' (file {path}); did you mean port?"
    assert "metrics_port = 'x'" in found[1]
    assert "did you mean limits.max_topk?" in found[2]
    assert "goes with front = own" in found[3]
    assert mistakes(settings_file(tmp_path, "port = 4\n")) == []

"""The files in `deploy/` agree with the program, with each other and with the tools that read them.

No container is built here. What can be checked without one is: options, paths, ports and limits
exist and fit each other; systemd and nginx accept their files where they are installed.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from documented import unknown_options

from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.middleware import KNOWN, OPEN
from clinadapt.deployment.server.uvicorn_server import IDLE_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
UNIT = (DEPLOY / "clinadapt-serve.service").read_text(encoding="utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"] == "clinadapt"}


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of a name in the Dockerfile."""
    return re.findall(rf"^\s*{name} (.+)", DOCKERFILE, re.MULTILINE)


def seconds(directive: str) -> float:
    """A duration of nginx.conf."""
    return float(re.search(rf"\b{directive} (\d+)s;", NGINX)[1])


def test_image_copies_what_exists_and_what_reaches_the_builder():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source.removeprefix('./')}" in ignored


def test_image_has_the_tested_python_and_extras_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = [one.partition("=")[2] for one in instructions("ARG") if one.startswith("EXTRAS")]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert {base.partition(" ")[0] for base in instructions("FROM")} == {
        "python:3.11-slim-bookworm"
    }


def test_image_runs_without_rights_and_offline():
    assert instructions("USER") == ["10001:10001"]
    assert "CLINADAPT_OFFLINE=1" in DOCKERFILE.rpartition("FROM ")[2]


def test_image_serves_on_the_port_that_its_health_is_asked_at():
    command = yaml.safe_load(instructions("CMD")[-1])
    assert unknown_options(["clinadapt", *command]) == []
    port = command[command.index("--port") + 1]
    assert instructions("EXPOSE") == [port]
    (asked,) = re.findall(rf"http://127\.0\.0\.1:{port}(/\w+)'", DOCKERFILE)
    assert asked in OPEN


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_closed_and_its_command_exists(name):
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"]
    assert unknown_options(["clinadapt", *service["command"]]) == []
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    named = {word for word in service["command"] if word.startswith("/")}
    assert {path for path in named if not path.startswith("/tmp/")} == mounted
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_only_the_proxy_can_be_reached():
    reachable = [name for name, one in COMPOSE["services"].items() if "ports" in one]
    assert reachable == ["proxy"]
    command = OURS["serve"]["command"]
    assert f"server serve:{command[command.index('--port') + 1]};" in NGINX


def test_the_proxy_lets_through_what_the_server_accepts():
    limits = Limits()
    megabytes = int(re.search(r"client_max_body_size (\d+)m;", NGINX)[1])
    assert megabytes * 2**20 >= limits.body_bytes
    assert seconds("proxy_read_timeout") > limits.seconds
    assert seconds("client_body_timeout") == limits.read_seconds
    assert seconds("keepalive_timeout") < IDLE_SECONDS
    for path in re.findall(r"location = (\S+)", NGINX):
        assert path in KNOWN


def test_the_proxy_keeps_notes_out_of_files_and_paths_out_of_logs():
    sizes = re.findall(r"client_(?:max_body|body_buffer)_size (\w+);", NGINX)
    assert len(sizes) == 2
    assert len(set(sizes)) == 1  # what is accepted fits into memory
    assert "proxy_max_temp_file_size 0;" in NGINX
    (logged,) = re.findall(r"log_format \w+ '(.*)';", NGINX)
    assert not re.search(r"\$(request|request_uri|uri|args|http_\w+)\b", logged)


def test_the_unit_starts_a_command_that_exists_and_waits_for_its_answers():
    (started,) = re.findall(r"^ExecStart=(.+)", UNIT, re.MULTILINE)
    assert unknown_options(["clinadapt", *shlex.split(started)[1:]]) == []
    assert float(re.search(r"^TimeoutStopSec=(\d+)", UNIT, re.MULTILINE)[1]) > Limits().seconds


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "clinadapt-serve.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT))
    command = ["systemd-analyze", "verify", unit]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert (checked.returncode, said) == (0, [])


@pytest.mark.skipif(
    not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx is not installed"
)
def test_nginx_accepts_its_file(tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made += ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    text = NGINX.replace("/etc/nginx", str(tmp_path)).replace("serve:8000", "127.0.0.1:8000")
    (tmp_path / "nginx.conf").write_text(text.replace("/tmp/nginx.pid", str(tmp_path / "pid")))
    command = ["nginx", "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")

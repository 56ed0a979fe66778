# Everything runs through uv; it is installed when it is missing.
UV := $(shell command -v uv 2>/dev/null)
ifeq ($(UV),)
UV := .venv-uv/bin/uv
endif
RUN := $(UV) run --no-sync
# Dozens of processes start: what Python has compiled once is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check format env down clean

demo: env  ## real servers, real data, the whole way
	$(RUN) retrace demo

test: env  ## every test, against real servers
	$(RUN) pytest -n 3 --dist loadfile --no-loadscope-reorder

check: env  ## lint, types, import contracts, generated code
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) python -m schemas.generate --check
	$(RUN) python -m schemas.released

format: env
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

env: $(UV)
	$(UV) sync --quiet --locked --extra stack

down:
	$(RUN) retrace down

.venv-uv/bin/uv:
	python3 -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet uv==0.13.8

clean: down
	rm -rf .retrace .venv .venv-uv

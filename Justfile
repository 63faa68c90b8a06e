# `./justw RECIPE` installs what a recipe needs and runs it; `just RECIPE` from .venv runs it as things are.

set quiet
set positional-arguments

mesh := "tests/acceptance/mesh"

export PATH := (justfile_directory() / ".venv" / "bin") + ":" + env("PATH")

# List the recipes
[private]
default:
    just --justfile "{{ justfile() }}" --list --unsorted

# Build the wheel into dist/
build:
    hatchling build -t wheel

# Deploy what is saved in a project to the running node, and show what it prints, until Ctrl-C
[no-cd, no-exit-message]
dev *ARGS:
    gridiron dev "$@"

# Run a node in the foreground: Restate, HAProxy, cells, manager
[no-cd, no-exit-message]
run *ARGS:
    gridiron up "$@"

# Show Gridiron's main job on a node of its own
[no-cd, no-exit-message]
demo *ARGS:
    gridiron demo "$@"

# Check format, lint, types (of Python and of the workers' JavaScript) and layers
check:
    ruff format --check --quiet . justw
    ruff check --quiet . justw
    mypy --no-error-summary
    report=$(lint-imports 2>&1) || { printf '%s\n' "$report"; exit 1; }
    node node_modules/typescript/bin/tsc --project .ci/javascript
    echo "format, lint, types and layers are in order"

# Ask advisory services what is known against the pinned packages; exits 69 where they cannot be reached
[no-exit-message]
audit:
    python -m audit

# Run the tests: all of them, those of a mesh after the others as it takes both processors, or what pytest is given
[no-exit-message]
test *ARGS:
    pytest {{ if ARGS == "" { "--numprocesses=2 --ignore=" + mesh } else { "" } }} "$@"
    {{ if ARGS == "" { "pytest " + mesh } else { "" } }}

# Measure a node against baselines: all measures, or those that are named
[no-exit-message]
bench *ARGS:
    python -m bench "$@"

# Strain a node while its processes are killed at random, and see that nothing is lost
[no-exit-message]
soak *ARGS:
    python -m soak "$@"

# Format the code, and mend what the linter can mend
fmt:
    ruff check --quiet --fix-only . justw
    ruff format --quiet . justw

# Remove what can be made again: caches, builds, stamps of npm's packages; no data
clean:
    rm -rf dist .audit .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .wrangler
    find . \( -name .git -o -name .venv -o -name node_modules -o -path ./data -o -name .gridiron \) -prune \
        -o -type d \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
    rm -f node_modules/.gridiron-packages

# Build the image (not there yet)
docker-build: (later "docker-build")

# Run the image (not there yet)
docker-run: (later "docker-run")

# Open a shell in the image (not there yet)
docker-shell: (later "docker-shell")

# Say how the components of the running node are
[no-cd, no-exit-message]
status *ARGS:
    gridiron status "$@"

# Deploy a bundle or a wrangler project to the running node
[no-cd, no-exit-message]
deploy *ARGS:
    gridiron deploy "$@"

# Call a handler: SERVICE[/KEY] HANDLER [JSON]
[no-cd, no-exit-message]
call *ARGS:
    gridiron call "$@"

[no-exit-message, private]
later RECIPE:
    echo "just {{ RECIPE }} is not there yet." >&2
    exit 1

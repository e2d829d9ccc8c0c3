#!/usr/bin/env bash
# Clients that exist, unchanged, against the real binary: huggingface_hub, tritonclient and kserve in Python,
# @huggingface/inference in Node, at the versions that scripts/clients pins. Their environments are made once and kept in
# the user's cache; where they cannot be made, the stage fails. --install does no more than that.
. "$(dirname "$0")/lib.sh"
python=$(bash ci/venv.sh clients scripts/clients/requirements.txt)
CLIENTS_NODE=$(bash ci/node.sh clients-node scripts/clients)
export CLIENTS_NODE
if [ "${1:-}" = --install ]; then exit 0; fi

temporary
bash ci/build.sh "$here/vitserve"
export VITSERVE=$here/vitserve CLIENTS_BIG=$here/big PYTHONDONTWRITEBYTECODE=1
"$python" scripts/clients/checkpoint.py "$CLIENTS_BIG"
# A process each: both of Triton's and KServe's clients call their messages inference.ModelInferRequest.
for tests in scripts/clients/test_*.py; do
  "$python" -W ignore -m unittest discover -s scripts/clients -p "$(basename "$tests")"
done
node --test --test-timeout=120000 --test-reporter=spec scripts/clients/*.test.mjs
# What the documents say that these clients do.
CLIENTS_PYTHON=$python go test ./internal/cli -count=1 -run TestDocumentClients

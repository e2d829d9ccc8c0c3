#!/usr/bin/env bash
# Tests and measures vitserve on a machine with an NVIDIA GPU, in the folder that pack.sh made:
#
#     bash run.sh RESULTS                 every part whose RESULTS/NAME.json is not there yet
#     bash run.sh RESULTS --part NAME     one of them
#     bash run.sh --list                  their names
#
# A part takes at most LIMIT seconds, 120 unless the variable says otherwise; what it found is in its JSON file as soon as
# it ends, so that nothing is lost where a machine is taken away. To run a part again, remove its file. QUICK=1 runs
# each measurement once and on small models, which shows run.sh on the stand-in: VITSERVE_CUDA=FOLDER/libcuda.so.1.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results='' only='' list=
while [ $# -gt 0 ]; do
  case $1 in
  --part) only=${2:?want the name of a part} && shift ;;
  --list) list=1 ;;
  *) results=$1 ;;
  esac
  shift
done
if [ -z "$list" ]; then
  [ -n "$results" ] || { echo "want a folder for the results" >&2; exit 2; }
  mkdir -p "$results" && results=$(cd "$results" && pwd)
fi
export VITSERVE_GPU_TESTS=installed VITSERVE_GPU_QUICK=${QUICK:-}
failed=0 found=0

# quoted writes its input as a JSON string.
quoted() {
  printf '"'
  tr '\t' ' ' | tr -d '\000-\010\013-\037' | sed 's/\\/\\\\/g; s/"/\\"/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
  printf '"'
}

# part NAME COMMAND… runs a command, which may leave JSON in the file $data, and writes what came of it.
part() {
  local name=$1
  shift
  if [ -n "$only" ] && [ "$only" != "$name" ]; then return; fi
  found=1
  if [ -n "$list" ]; then echo "$name"; return; fi
  if [ -s "$results/$name.json" ]; then echo "$name: is there"; return; fi
  data=$results/$name.data
  rm -f "$data"
  export data here only results
  local begun=$SECONDS rc=0
  timeout -k 5 "${LIMIT:-120}" bash -c '"$@"' part "$@" >"$results/$name.log" 2>&1 || rc=$?
  {
    printf '{"part": "%s", "ok": %s, "rc": %d, "seconds": %d, "at": "%s", "end": ' "$name" \
      "$([ $rc = 0 ] && echo true || echo false)" $rc $((SECONDS - begun)) "$(date -u +%FT%TZ)"
    tail -n 25 "$results/$name.log" | quoted
    if [ -s "$data" ]; then printf ', "data": ' && cat "$data"; fi
    printf '}\n'
  } >"$results/$name.tmp"
  mv "$results/$name.tmp" "$results/$name.json"
  rm -f "$data"
  echo "$name: $([ $rc = 0 ] && echo ok || echo "FAILED, rc $rc") in $((SECONDS - begun)) s"
  if [ $rc != 0 ]; then failed=1; fi
}

# tests PACKAGE PATTERN [MORE…] runs tests of a package, in its folder; that there are none is a failure.
tests() {
  mkdir -p "$here/$1" && cd "$here/$1" || return 1
  "$here/tests/$(basename "$1").test" -test.v -test.run "$2" "${@:3}" >"$results/.tests.$$" 2>&1
  local rc=$?
  grep -E '^(---|FAIL|ok|PASS|panic|standin)|^ +--- FAIL|nmse.*limit|Error' "$results/.tests.$$" | tail -n 60
  if grep -q 'no tests to run' "$results/.tests.$$" || ! grep -q '^--- PASS' "$results/.tests.$$"; then rc=1; fi
  rm -f "$results/.tests.$$"
  return $rc
}

machine() {
  nvidia-smi -q -d CLOCK,POWER,MEMORY 2>&1 | head -n 60
  nvidia-smi 2>&1 | head -n 15
  ldconfig -p 2>/dev/null | grep -E 'libcuda|libOpenCL'
  ls /etc/OpenCL/vendors 2>&1
  "$here/vitserve" version --backend cuda | tee "$data.text"
  grep -q 'cuda/' "$data.text" || return 1
  quoted <"$data.text" >"$data"
  rm -f "$data.text"
}

words() { VITSERVE_GPU_WORDS=$data tests backend/gpu '^TestWords$/^cuda$'; }

rates() { VITSERVE_GPU_RATES=$data VITSERVE_GPU_BATCH=$1 tests backend/gpu '^TestRates$'; }

# lines makes an array of lines of JSON.
lines() { awk 'BEGIN { printf "[" } NR > 1 { printf ", " } { printf "%s", $0 } END { print "]" }'; }

# model PRESET BATCHES measures a model with random weights.
model() {
  local runs=(--runs 10 --seconds 2) batches=$2
  if [ -n "${QUICK:-}" ]; then runs=(--runs 1 --seconds 0) batches=1; fi
  "$here/vitserve" bench --backend cuda --preset "$1" --batch "$batches" --json "${runs[@]}" >"$data.lines" || return 1
  lines <"$data.lines" >"$data"
  rm -f "$data.lines"
  cat "$data"
}

# answers compares classes and maps with those of the CPU.
answers() {
  local on
  for on in cpu cuda; do
    "$here/vitserve" classify --json --top 3 --backend $on "$here"/photos/*.jpg >"$data.$on" || return 1
    "$here/vitserve" explain --json --method relevance --backend $on "$(ls "$here"/photos/*.jpg | head -1)" >"$data.map.$on" || return 1
    grep -o '"index":[0-9]*' "$data.$on" >"$data.top.$on"
  done
  diff "$data.top.cpu" "$data.top.cuda" || return 1
  echo "$(wc -l <"$data.top.cuda") classes are the CPU's"
  lines <"$data.cuda" >"$data"
  rm -f "$data".*
}

peers() {
  local python=${PYTHON:-python3}
  if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "no PyTorch for $python: nothing is measured beside it"
    echo '{"skipped": "no PyTorch"}' >"$data"
    return
  fi
  "$python" "$here/peer.py" --json "$data" ${QUICK:+--quick}
}

# opencl runs a command with an ICD file for NVIDIA's driver where there is none.
opencl() {
  if ! ldconfig -p | grep -q libOpenCL.so.1; then
    echo "no OpenCL loader: nothing is asked of it"
    echo '{"skipped": "no libOpenCL.so.1"}' >"$data"
    return
  fi
  if ! ls /etc/OpenCL/vendors/*.icd >/dev/null 2>&1; then
    mkdir -p "$results/icd"
    echo libnvidia-opencl.so.1 >"$results/icd/nvidia.icd"
    export OCL_ICD_VENDORS=$results/icd
  fi
  "$@"
}

export -f quoted tests machine words rates lines model answers peers opencl

part machine machine
part words words
part pieces tests backend/gpu '^Test(ShortLife|Threads|Pieces|Tiles|Outputs|Wide|FirstHidden|TempPlaces)$' -test.skip /opencl
suite() { # of a driver, in pieces
  local test=$1 with=${2:-}
  local of="^$test\$"
  if [ "$test" = TestCUDA ]; then of="$of/^forward\$"; fi
  local prefix=${test#Test}
  part "suite-${prefix,,}-linear" $with tests backend/gpu "$of/^(PatchEmbed|LayerNorm|Norms|HeadByHead|Linear|Activations|MLP|Temps)\$"
  part "suite-${prefix,,}-attention" $with tests backend/gpu "$of/^(Attention|Places|Hidden|Spent)\$"
  part "suite-${prefix,,}-subset" $with tests backend/gpu "$of/^PlacesSubset\$"
  part "suite-${prefix,,}-stream" $with tests backend/gpu "$of/^(Pool|Gather|RelativeBias|LayerByLayer|Stream|Reads|Failure|Panics|Weights|Encoder|Subset|Poison|Concurrency)\$"
  part "suite-${prefix,,}-families" $with tests backend/gpu "$of/^(Families|FamiliesCompany|Company)\$"
  part "suite-${prefix,,}-gradients" $with tests backend/gpu "$of/^Gradients\$/^AttentionGrad\$"
  part "suite-${prefix,,}-gradients-others" $with tests backend/gpu "$of/^Gradients\$" -test.skip '/AttentionGrad$'
}
suite TestCUDA
for batch in 1 8 64; do
  if [ -n "${QUICK:-}" ] && [ $batch != 1 ]; then continue; fi
  part "rates-$batch" rates $batch
done
part goldens tests models '^TestGoldenGPU$/^cuda$'
part golden-gradients tests models '^TestGoldenGradientsGPU$/^cuda$'
part families tests vit '^TestGPU(IsRef|Steps)$/^cuda$'
part answers answers
part model-tiny model deit_tiny_patch16_224 1,8,64,256
if [ -z "${QUICK:-}" ]; then
  part model-small model deit_small_patch16_224 1,8,64,256
  part model-base model vit_base_patch16_224 1,8,64,128
  part model-large model vit_large_patch16_224 1,8,64
fi
part peers peers
part opencl-words opencl tests backend/gpu '^TestWords$/^opencl$'
suite TestOpenCL opencl

if [ -z "$found$list" ] || [ $found = 0 ]; then
  echo "no part $only: --list names them" >&2
  exit 2
fi
exit $failed

#!/usr/bin/env bash
# The GPU without one: kernels are what NVRTC makes of their source, without stacks and spills; the whole suite, goldens
# and faults on the stand-in for NVIDIA's driver and on PoCL; the program with cgo needs libc alone and starts without
# drivers. Tools that are missing are installed; where they cannot be, the stage fails. --install does no more than that.
. "$(dirname "$0")/lib.sh"

missing() { ! command -v g++ >/dev/null || ! ls /etc/OpenCL/vendors/pocl*.icd >/dev/null 2>&1 || ! ldconfig -p | grep -q libOpenCL.so.1; }

if missing; then
  as=()
  if [ "$(id -u)" != 0 ]; then as=(sudo -n); fi
  apt=("${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update || fail "apt-get update fails"
  "${apt[@]}" install --no-install-recommends -y g++ pocl-opencl-icd ocl-icd-libopencl1 >/dev/null ||
    fail "g++, pocl-opencl-icd and ocl-icd-libopencl1 cannot be installed"
fi
if missing; then fail "want g++, PoCL and an OpenCL loader"; fi
python=$(bash ci/venv.sh nvrtc scripts/gpu/requirements.txt)
if [ "${1:-}" = --install ]; then exit 0; fi

nvrtc=$("$python" -c 'import pathlib, nvidia.cuda_nvrtc as n; print(pathlib.Path(list(n.__path__)[0]))')
"$python" scripts/gpu/ptx.py --nvrtc "$nvrtc" --check

temporary
bash ci/build.sh "$here/vitserve" gpu
needs=$(ldd "$here/vitserve" | sed 's/^[ \t]*//; s/ .*//; s/.*\///')
for library in $needs; do
  case $library in
  linux-vdso.so.1 | libc.so.6 | ld-linux-x86-64.so.2) ;;
  *) fail "the program with cgo needs $library: libc alone is wanted" ;;
  esac
done
echo "the program with cgo: $(wc -c <"$here/vitserve") bytes, needs $(echo $needs)"
export VITSERVE_CUDA=/nowhere/libcuda.so.1 VITSERVE_OPENCL=/nowhere/libOpenCL.so.1
"$here/vitserve" classify --top 1 testdata/images/banana.jpg | grep -q banana || fail "it does not answer without drivers"
for on in cuda opencl; do
  if "$here/vitserve" classify --backend $on testdata/images/banana.jpg >/dev/null 2>"$here/why"; then fail "$on answers without a driver"; fi
  grep -q "/nowhere/lib" "$here/why" || fail "$on does not say what is missing: $(cat "$here/why")"
done
unset VITSERVE_CUDA VITSERVE_OPENCL

# The oracle has one thread: three at a time are faster.
export VITSERVE_GPU_TESTS=required
part() { go test -count=1 -timeout 40m "$@" >"$here/$(echo "$*" | tr -c 'A-Za-z\n' _)" 2>&1; }
part -run 'TestCUDA/forward' ./backend/gpu &
forward=$!
part -run 'TestCUDA/reverse|TestFaults' ./backend/gpu &
reverse=$!
failed=0
part -skip 'TestCUDA|TestFaults' ./backend/gpu/... || failed=1
part -run 'GPU|DeviceMemory|LostDevice' ./vit ./models ./api ./internal/cli || failed=1
wait "$forward" || failed=1
wait "$reverse" || failed=1
cat "$here"/_*
exit "$failed"

#!/usr/bin/env bash
# Packs what a machine with a GPU needs to test and measure vitserve there: bash scripts/gpu/pack.sh FOLDER
# The folder has the program, the tests as programs, their data and run.sh; the machine needs neither Go nor the network.
# With --standin it has the stand-in for NVIDIA's driver, too, which shows run.sh without a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
to=${1:?want the folder to pack into}
mkdir -p "$to/tests" "$to/models/testdata" "$to/photos"
to=$(cd "$to" && pwd)
bash ci/build.sh "$to/vitserve" gpu
for package in backend/gpu vit models; do
  CGO_ENABLED=1 go test -c -trimpath -tags netgo,osusergo -ldflags '-s -w' -o "$to/tests/$(basename $package).test" "./$package"
done
cp -r models/testdata/golden "$to/models/testdata/"
cp testdata/images/*.jpg "$to/photos/" && rm -f "$to/photos/broken.jpg"
cp scripts/gpu/run.sh scripts/gpu/peer.py "$to/"
if [ "${2:-}" = --standin ]; then
  g++ -std=c++17 -O2 -ffp-contract=off -mfma -Wno-unknown-pragmas -shared -fPIC -I backend/gpu/standin/src -I backend/gpu/kernels \
    -o "$to/libcuda.so.1" backend/gpu/standin/src/standin.cpp -lpthread -ldl
fi
echo "$to: $(du -sh "$to" | cut -f1)"

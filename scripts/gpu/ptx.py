#!/usr/bin/env python3
"""Compiles the kernels of backend/gpu/kernels by NVRTC, which needs neither a GPU nor a toolkit.

    python3 scripts/gpu/ptx.py --nvrtc FOLDER           writes backend/gpu/kernels/vit.ptx.gz
    python3 scripts/gpu/ptx.py --nvrtc FOLDER --check   compares it, and the facts of the machine code

FOLDER is where `pip install --target FOLDER nvidia-cuda-nvrtc-cu12==12.4.127` has put NVRTC.
"""
import argparse
import ctypes
import gzip
import pathlib
import struct
import sys

KERNELS = pathlib.Path(__file__).resolve().parents[2] / "backend" / "gpu" / "kernels"
VIRTUAL = "compute_70"  # PTX: every chip since Volta
CHIPS = ["sm_70", "sm_80", "sm_90"]  # machine code that is looked at and not kept
VERSION = (12, 4)  # PTX 8.4: drivers since 550


class NVRTC:
    def __init__(self, folder):
        found = sorted(pathlib.Path(folder).rglob("libnvrtc.so.12"))
        if not found:
            sys.exit(f"{folder}: no libnvrtc.so.12, want what pip install nvidia-cuda-nvrtc-cu12==12.4.127 puts there")
        for builtins in found[0].parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(found[0]))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        if (major.value, minor.value) != VERSION:
            sys.exit(f"NVRTC {major.value}.{minor.value}, want {VERSION[0]}.{VERSION[1]}: another one writes other PTX")

    def call(self, name, *args):
        if code := getattr(self.lib, name)(*args):
            raise RuntimeError(f"{name}: NVRTC error {code}")

    def compile(self, arch, get):
        """Returns what NVRTC makes of vit.cl: its PTX or its CUBIN."""
        program = ctypes.c_void_p()
        source = (KERNELS / "vit.cl").read_bytes()
        self.call("nvrtcCreateProgram", ctypes.byref(program), source, b"vit.cl", 0, None, None)
        options = [f"-arch={arch}", f"-I{KERNELS}", "-default-device", "-fmad=false", "-std=c++17"]
        argv = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        failed = self.lib.nvrtcCompileProgram(program, len(options), argv)
        log = self.read(program, "ProgramLog").rstrip(b"\0\n").decode()
        if failed or log:
            sys.exit(f"{arch}: {log or failed}")
        return self.read(program, get)

    def read(self, program, what):
        size = ctypes.c_size_t()
        self.call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, text)
        return text.raw


def facts(cubin):
    """Returns registers, stack and shared memory of each kernel of a cubin, an ELF file."""
    section_at, = struct.unpack_from("<Q", cubin, 0x28)
    size, count, names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, section_at + i * size) for i in range(count)]

    def text(section, offset):
        at = section[4] + offset
        return cubin[at:cubin.index(b"\0", at)].decode()

    symbols = next(s for s in sections if s[1] == 2)

    def symbol(i):
        return text(sections[symbols[6]], *struct.unpack_from("<I", cubin, symbols[4] + i * 24))

    kernels = {}
    for s in sections:
        name = text(sections[names], s[0])
        if name.startswith(".nv.shared.") and "reserved" not in name:
            kernels.setdefault(name.removeprefix(".nv.shared."), {})["shared"] = s[5]
        if name != ".nv.info":
            continue
        info, i = cubin[s[4]:s[4] + s[5]], 0
        while i < len(info):
            if info[i] != 4:
                i += 4
                continue
            length, = struct.unpack_from("<H", info, i + 2)
            values = struct.unpack_from(f"<{length // 4}I", info, i + 4)
            if key := {0x11: "stack", 0x12: "frame", 0x23: "most", 0x2F: "registers"}.get(info[i + 1]):
                kernels.setdefault(symbol(values[0]), {})[key] = values[1]
            i += 4 + length
    return {name: f for name, f in kernels.items() if not name.startswith("$")}  # which are division's slow ways


def look(nvrtc):
    """Prints the facts of the machine code; a kernel with a stack spills or indexes what should be registers."""
    bad = False
    for chip in CHIPS:
        for name, f in sorted(facts(nvrtc.compile(chip, "CUBIN")).items()):
            wrong = f.get("stack") or f.get("frame") or f.get("most") or f["registers"] > 255 or f.get("shared", 0) > 48 << 10
            bad = bad or wrong
            print(f"{chip} {name}: {f['registers']} registers, stack {f.get('stack', 0)}, {f.get('shared', 0)} bytes shared{'  WRONG' if wrong else ''}")
    if bad:
        sys.exit("a kernel has a stack, too many registers or too much shared memory")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--nvrtc", required=True, metavar="FOLDER")
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    nvrtc = NVRTC(args.nvrtc)
    made = nvrtc.compile(VIRTUAL, "PTX").rstrip(b"\0")
    file = KERNELS / "vit.ptx.gz"
    if not args.check:
        file.write_bytes(gzip.compress(made, 9, mtime=0))
        print(f"{file.name}: {len(made)} bytes, {file.stat().st_size} compressed")
    elif gzip.decompress(file.read_bytes()) != made:
        sys.exit(f"{file.name} is not what NVRTC makes of the source: run scripts/gpu/ptx.py")
    look(nvrtc)


if __name__ == "__main__":
    main()

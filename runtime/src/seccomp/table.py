#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes table.rs, the numbers of all system calls on all architectures that a profile can name, to standard output.

The facts are the kernel's own: its uapi headers, as the crate linux-raw-sys and Debian's cross packages carry them.

    cargo fetch                                             # brings linux-raw-sys (its folder: the first argument)
    apt-get download linux-libc-dev-{s390x,mipsn32,hppa,sh4}-cross && for d in *.deb; do dpkg -x "$d" headers; done
    ./table.py ~/.cargo/registry/src/*/linux-raw-sys-0.12.1 headers > table.rs && cargo fmt -p kelp-runtime

Debian's headers may be some releases older than the crate: since Linux 5.1 a new call gets one number for all
architectures (counted from the ABI's base), so what the older headers lack is taken from the crate.
"""

import glob
import re
import sys

# The column's name, where its numbers begin, and whence they come: a folder of the crate or a header of Debian's.
COLUMNS = [
    ("X86_64", 0, "crate", "x86_64"),
    ("X86", 0, "crate", "x86"),
    ("X32", 0x40000000, "crate", "x32"),
    ("AARCH64", 0, "crate", "aarch64"),
    ("ARM", 0, "crate", "arm"),
    ("RISCV64", 0, "crate", "riscv64"),
    ("LOONGARCH64", 0, "crate", "loongarch64"),
    ("PPC64", 0, "crate", "powerpc64"),
    ("PPC", 0, "crate", "powerpc"),
    ("S390X", 0, "crate", "s390x"),
    ("S390", 0, "header", "s390x-linux-gnu/include/asm/unistd_32.h"),
    ("MIPS64", 5000, "crate", "mips64"),
    ("MIPS64N32", 6000, "header", "mips64-linux-gnuabin32/include/asm/unistd_n32.h"),
    ("MIPS", 4000, "crate", "mips"),
    ("M68K", 0, "crate", "m68k"),
    ("PARISC64", 0, "header", "hppa-linux-gnu/include/asm/unistd_64.h"),
    ("PARISC", 0, "header", "hppa-linux-gnu/include/asm/unistd_32.h"),
    ("SH", 0, "header", "sh4-linux-gnu/include/asm/unistd_32.h"),
]

# Names in the headers that are no system calls.
NOT_CALLS = re.compile(r"(|64_|N32_|O32_)Linux(_syscalls)?|syscalls|arch_specific_syscall|BASE|(OABI_)?SYSCALL_(BASE|MASK)|(unused|reserved)\d+")
# A second name for the same number: libseccomp knows the first only.
ALIASES = {("ARM", "sync_file_range2")}
# What came between Debian 12's headers and the crate's, for one family alone.
LATER = {"PARISC": {"cacheflush": 356}, "PARISC64": {"cacheflush": 356}}
# The highest number that Debian 12's headers (Linux 6.1) know.
OLD_HEADERS_END = 450


def from_crate(crate, folder, base):
    text = open(f"{crate}/src/{folder}/general.rs").read()
    found = re.findall(r"pub const __(?:ARM_)?NR_(\w+): u32 = (\d+);", text)
    return {name: int(number) - base for name, number in found if not NOT_CALLS.fullmatch(name)}


def from_header(headers, path):
    [file] = glob.glob(f"{headers}/usr/{path}")
    found = re.findall(r"#define __NR_(\w+)\s+\(?(?:__NR_Linux\s*\+\s*)?(\d+)\)?", open(file).read())
    return {name: int(number) for name, number in found if not NOT_CALLS.fullmatch(name)}


def columns(crate, headers):
    result = {}
    for name, base, kind, where in COLUMNS:
        result[name] = from_crate(crate, where, base) if kind == "crate" else from_header(headers, where)
    common = {n: v for n, v in result["RISCV64"].items() if v > OLD_HEADERS_END}
    for name, _, kind, _ in COLUMNS:
        if kind == "header":
            result[name] = common | LATER.get(name, {}) | result[name]
    for column, name in ALIASES:
        del result[column][name]
    for name, calls in result.items():
        assert len(set(calls.values())) == len(calls), f"{name}: two names for one number"
    return result


def main():
    table = columns(*sys.argv[1:3])
    names = sorted(set().union(*table.values()))
    print("// SPDX-License-Identifier: Apache-2.0")
    print("//! The numbers of all system calls. Written by table.py from the kernel's headers: do not edit.")
    print()
    print("use super::number::{COLUMNS, Row, row};")
    print()
    print("/// No such call on this architecture.")
    print("const __: i32 = -1;")
    print()
    print("// Columns: " + " ".join(name for name, *_ in COLUMNS) + ".")
    print("// Each counted from the ABI's base: see `number::Column`.")
    print('#[allow(clippy::large_const_arrays, reason = "read while building only: nothing of it is in the program")]')
    print(f"pub(super) const ROWS: [Row; {len(names)}] = [")
    for name in names:
        cells = ", ".join(str(table[column].get(name, "__")) for column, *_ in COLUMNS)
        print(f'    row("{name}", [{cells}]),')
    print("];")
    print()
    print(f"const _: () = assert!(COLUMNS == {len(COLUMNS)});")


main()

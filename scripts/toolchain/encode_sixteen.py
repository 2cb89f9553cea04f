"""The hand-made table, continued: 16-bit code, in which a processor starts.

Owns the rows of the integer and system instructions of 16-bit mode, in the notation of ``encode_table``. Keystone is
not asked for 16-bit code: it takes a 16-bit operand for a 32-bit one and knows no short addresses.
"""

from __future__ import annotations

from typing import Final

# 16-bit code: the integer instructions. Those above marked 1 belong to it too.
_ROWS: Final = """
mov    1 | al m/m1 | moffs a0
mov    1 | ax m/m2 | moffs a1
mov    1 | eax m/m4 | moffs o32 a1
mov    1 | m/m1 al | moffs a2
mov    1 | m/m2 ax | moffs a3
mov    1 | m/m4 eax | moffs o32 a3
mov    1 | E8 b | 88 /mr
mov    1 | w/m/m2 w | 89 /mr
mov    1 | d/m/m4 d | o32 89 /mr
mov    1 | b m/m1 | 8a /r
mov    1 | w m/m2 | 8b /r
mov    1 | d m/m4 | o32 8b /r
mov    1 | b i | b0 +r ib
mov    1 | w i | b8 +r iw
mov    1 | d i | o32 b8 +r id
mov    1 | m1 i | c6 /0 ib
mov    1 | m2 i | c7 /0 iw
mov    1 | m4 i | o32 c7 /0 id
mov    1 | C d | 0f22 /r
mov    1 | d C | 0f20 /mr
mov    1 | G d | 0f23 /r
mov    1 | d G | 0f21 /mr
test   1 | E8 b | 84 /mr
test   1 | b m/m1 | 84 /r
test   1 | w/m/m2 w | 85 /mr
test   1 | d/m/m4 d | o32 85 /mr
test   1 | w m/m2 | 85 /r
test   1 | d m/m4 | o32 85 /r
test   1 | al i | a8 ib
test   1 | ax i | a9 iw
test   1 | eax i | o32 a9 id
test   1 | b/m1 i | f6 /0 ib
test   1 | w/m2 i | f7 /0 iw
test   1 | d/m4 i | o32 f7 /0 id
xchg   1 | ax w | 90 +r2
xchg   1 | w ax | 90 +r
xchg   1 | eax d | o32 90 +r2
xchg   1 | d eax | o32 90 +r
xchg   1 | b b | 86 /mr
xchg   1 | b m/m1 | 86 /r
xchg   1 | m/m1 b | 86 /mr
xchg   1 | v v | ov 87 /mr
xchg   1 | w m/m2 | 87 /r
xchg   1 | d m/m4 | o32 87 /r
xchg   1 | m/m2 w | 87 /mr
xchg   1 | m/m4 d | o32 87 /mr
inc    1 | v | ov 40 +r
dec    1 | v | ov 48 +r
inc    1 | b/m1 | fe /0
dec    1 | b/m1 | fe /1
inc    1 | m2/m4 | ov ff /0
dec    1 | m2/m4 | ov ff /1
push   1 | v | ov 50 +r
pop    1 | v | ov 58 +r
push   1 | m/m2/m4 | ov ff /6
pop    1 | m/m2/m4 | ov 8f /0
push   1 | i | 6a ibs
push   1 | i | 68 iw
jmp    1 | v | ov ff /4
call   1 | v | ov ff /2
jmp    1 | m/m2 | ff /4
call   1 | m/m2 | ff /2
jmp    1 | m4 | ff /5 | ljmp 1
call   1 | m4 | ff /3 | lcall 1
ret    1 | | c3
ret    1 | i | c2 iw
lea    1 | v m | ov 8d /r
lds    1 | v m | ov c5 /r
les    1 | v m | ov c4 /r
lss    1 | v m | ov 0fb2 /r
lfs    1 | v m | ov 0fb4 /r
lgs    1 | v m | ov 0fb5 /r
movzx  1 | v b/m1 | ov 0fb6 /r
movsx  1 | v b/m1 | ov 0fbe /r
movzx  1 | d w/m2 | o32 0fb7 /r
movsx  1 | d w/m2 | o32 0fbf /r
imul   1 | v v | ov 0faf /r
imul   1 | v m/m2/m4 | ov 0faf /r
imul   1 | v i | ov 6b /rr ibs
imul   1 | v i | ov 69 /rr iv
imul   1 | v v/m/m2/m4 i | ov 6b /r ibs
imul   1 | v v/m/m2/m4 i | ov 69 /r iv
xadd   1 | E8 b | 0fc0 /mr
xadd   1 | v/m/m2/m4 v | ov 0fc1 /mr
cmpxchg 1 | E8 b | 0fb0 /mr
cmpxchg 1 | v/m/m2/m4 v | ov 0fb1 /mr
lar    1 | v w/m/m2 | ov 0f02 /r | ~
lsl    1 | v w/m/m2 | ov 0f03 /r | ~
shld   1 | v/m/m2/m4 v i | ov 0fa4 /mr ib
shrd   1 | v/m/m2/m4 v i | ov 0fac /mr ib
shld   1 | v/m/m2/m4 v cl | ov 0fa5 /mr
shrd   1 | v/m/m2/m4 v cl | ov 0fad /mr
bsf    1 | v v/m/m2/m4 | ov 0fbc /r
bsr    1 | v v/m/m2/m4 | ov 0fbd /r
in     1 | al i | e4 ib
in     1 | ax i | e5 ib
in     1 | eax i | o32 e5 ib
in     1 | al dx | ec
in     1 | ax dx | ed
in     1 | eax dx | o32 ed
out    1 | i al | e6 ib
out    1 | i ax | e7 ib
out    1 | i eax | o32 e7 ib
out    1 | dx al | ee
out    1 | dx ax | ef
out    1 | dx eax | o32 ef
int3   1 | | cc
into   1 | | ce
hlt    1 | | f4
nop    1 | | 90
cli    1 | | fa
sti    1 | | fb
clc    1 | | f8
stc    1 | | f9
cld    1 | | fc
std    1 | | fd
cmc    1 | | f5
cbw    1 | | 98
cwde   1 | | o32 98
cwd    1 | | 99
cdq    1 | | o32 99
lahf   1 | | 9f
sahf   1 | | 9e
leave  1 | | c9
pause  1 | | f3 90
cpuid  1 | | 0fa2
rdmsr  1 | | 0f32
wrmsr  1 | | 0f30
rdtsc  1 | | 0f31
wbinvd 1 | | 0f09
invd   1 | | 0f08
clts   1 | | 0f06
mfence 1 | | 0faef0
lfence 1 | | 0faee8
sfence 1 | | 0faef8
movsb  1 | | a4
movsw  1 | | a5
cmpsb  1 | | a6
cmpsw  1 | | a7
stosb  1 | | aa
stosw  1 | | ab
stosd  1 | | o32 ab
lodsb  1 | | ac
lodsw  1 | | ad
lodsd  1 | | o32 ad
scasb  1 | | ae
scasw  1 | | af
scasd  1 | | o32 af
insb   1 | | 6c
insw   1 | | 6d
insd   1 | | o32 6d
outsb  1 | | 6e
outsw  1 | | 6f
outsd  1 | | o32 6f
"""
_ALU: Final = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")
_SHIFTS: Final = {"rol": 0, "ror": 1, "rcl": 2, "rcr": 3, "shl": 4, "sal": 4, "shr": 5, "sar": 7}
_GROUP3: Final = {"not": 2, "neg": 3, "mul": 4, "imul": 5, "div": 6, "idiv": 7}
_BITS: Final = {"bt": 4, "bts": 5, "btr": 6, "btc": 7}


def _regular() -> list[str]:
    """The rows of the 16-bit families that differ in a digit alone."""
    rows = []
    for digit, name in enumerate(_ALU):
        op = 8 * digit
        rows += [
            f"{name} 1 | E8 b | {op:02x} /mr",
            f"{name} 1 | w/m/m2 w | {op + 1:02x} /mr",
            f"{name} 1 | d/m/m4 d | o32 {op + 1:02x} /mr",
            f"{name} 1 | b m/m1 | {op + 2:02x} /r",
            f"{name} 1 | w m/m2 | {op + 3:02x} /r",
            f"{name} 1 | d m/m4 | o32 {op + 3:02x} /r",
            f"{name} 1 | al i | {op + 4:02x} ib",
            f"{name} 1 | b/m1 i | 80 /{digit} ib",
            f"{name} 1 | v/m2/m4 i | ov 83 /{digit} ibs",
            f"{name} 1 | ax/eax i | ov {op + 5:02x} iv",
            f"{name} 1 | v/m2/m4 i | ov 81 /{digit} iv",
        ]
    for name, digit in _SHIFTS.items():
        rows += [
            f"{name} 1 | b/m1 1 | d0 /{digit}",
            f"{name} 1 | v/m2/m4 1 | ov d1 /{digit}",
            f"{name} 1 | b/m1 | d0 /{digit}",
            f"{name} 1 | v/m2/m4 | ov d1 /{digit}",
            f"{name} 1 | b/m1 cl | d2 /{digit}",
            f"{name} 1 | v/m2/m4 cl | ov d3 /{digit}",
            f"{name} 1 | b/m1 i | c0 /{digit} ib",
            f"{name} 1 | v/m2/m4 i | ov c1 /{digit} ib",
        ]
    for name, digit in _GROUP3.items():
        rows += [f"{name} 1 | b/m1 | f6 /{digit}", f"{name} 1 | v/m2/m4 | ov f7 /{digit}"]
    for name, digit in _BITS.items():
        rows += [
            f"{name} 1 | v/m/m2/m4 v | ov 0f{0x83 + 8 * digit:02x} /mr",
            f"{name} 1 | v/m2/m4 i | ov 0fba /{digit} ib",
        ]
    for code, names in enumerate(_CONDITIONS):
        for name in names.split():
            rows.append(f"set{name} 1 | E8 | 0f{0x90 + code:02x} /0")
            rows.append(f"cmov{name} 1 | v v/m/m2/m4 | ov 0f{0x40 + code:02x} /r")
    return rows


_CONDITIONS: Final = (
    "o", "no", "b c nae", "ae nb nc", "e z", "ne nz", "be na", "a nbe", "s", "ns", "p pe", "np po", "l nge",
    "ge nl", "le ng", "g nle",
)  # fmt: skip


def lines() -> list[str]:
    """The rows as ``mnemonic modes | operands | encoding``."""
    return [line for line in _ROWS.splitlines() if line] + _regular()

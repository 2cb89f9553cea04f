"""The hand-made table: what Keystone encodes wrongly, does not know, or must not be asked, and all 16-bit code.

Owns opcodes by operand form (Intel SDM vol. 2, the opcode tables of each instruction), in the notation of the
manual. A row has the modes, the operands and the encoding; the first row of a mnemonic that fits is taken, so rows
stand in the order in which GNU as prefers them. The bytes still go through Capstone before anybody sees them.

Operands: ``b w d q`` general registers, ``s C G`` segment, control and debug registers, ``x M`` vector registers,
``m`` memory of no named size and ``m1 m2 m4 ...`` of a named one (``mf`` far), ``i`` a number, ``al cl dx ...`` that
register, ``j`` a jump target, ``f`` a far pointer; ``/`` between alternatives. ``V`` is ``w/d/q`` and ``E`` is
``w/d/q/m/m2/m4/m8``.

Encoding: opcode bytes in hex; ``/r`` first operand in ModRM.reg, second in ModRM.rm; ``/mr`` the other way round;
``/0``-``/7`` a digit, the first operand in ModRM.rm (``/0.2`` the second); ``+r`` the register in the opcode; ``ib iw id iq iv`` immediates
(``iv``: as wide as the operands, at most 4 bytes; ``ibs`` sign-extended); ``ov`` operand size from the operands;
``o16 o32 o64`` that operand size; ``66 f2 f3`` before the opcode are mandatory prefixes; ``moffs`` a bare address.

A fourth column says how the decoder reads the bytes where that is not the statement itself: a mnemonic and operand
numbers, ``1d`` for operand 1 as a 32-bit register, ``-`` for none; ``~`` where Capstone does not know the instruction.
"""

from __future__ import annotations

from typing import Final

ALTERNATIVES: Final = {"V": "w/d/q", "E": "w/d/q/m/m2/m4/m8", "E8": "b/m/m1", "v": "w/d"}

# modes | operands | encoding, per mnemonic.
_COMMON: Final = """
bswap     6 3 1 | d | o32 0fc8 +r
cldemote  6 3 1 | m | 0f1c /0
clrssbsy  6 3 | m/m8 | f3 0fae /6
endbr32   6 3 1 | | f3 0f1efb
endbr64   6 3 1 | | f3 0f1efa
enqcmd    6 | q m | f2 0f38f8 /r | ~
enqcmd    3 | d m | f2 0f38f8 /r | ~
enqcmds   6 | q m | f3 0f38f8 /r | ~
enqcmds   3 | d m | f3 0f38f8 /r | ~
movdir64b 6 | q m | 66 0f38f8 /r
movdir64b 3 | d m | 66 0f38f8 /r
movdiri   6 3 | m/m4 d | 0f38f9 /mr
movdiri   6 | m/m8 q | o64 0f38f9 /mr
hreset    6 3 | i | f3 0f3af0c0 ib | ~
invept    6 | q m/m16 | 66 0f3880 /r
invept    3 | d m/m16 | 66 0f3880 /r
invvpid   6 | q m/m16 | 66 0f3881 /r
invvpid   3 | d m/m16 | 66 0f3881 /r
invpcid   6 | q m/m16 | 66 0f3882 /r
invpcid   3 | d m/m16 | 66 0f3882 /r
incsspd   6 3 | d | f3 0fae /5
incsspq   6 | q | o64 f3 0fae /5
ptwrite   6 3 | d/m4 | f3 0fae /4
ptwrite   6 | q/m8 | o64 f3 0fae /4
rdpid     6 | q | f3 0fc7 /7
rdpid     3 | d | f3 0fc7 /7
rdsspd    6 3 | d | f3 0f1e /1
rdsspq    6 | q | o64 f3 0f1e /1
rstorssp  6 3 | m/m8 | f3 0f01 /5
wrssd     6 3 | m/m4 d | 0f38f6 /mr
wrssq     6 | m/m8 q | o64 0f38f6 /mr
wrussd    6 3 | m/m4 d | 66 0f38f5 /mr
wrussq    6 | m/m8 q | o64 66 0f38f5 /mr
saveprevssp 6 3 | | f3 0f01ea
setssbsy  6 3 | | f3 0f01e8
serialize 6 3 1 | | 0f01e8 | ~
clui      6 | | f3 0f01ee | ~
stui      6 | | f3 0f01ef | ~
testui    6 | | f3 0f01ed | ~
uiret     6 | | f3 0f01ec | ~
senduipi  6 | q | f3 0fc7 /6 | ~
enclv     6 3 | | 0f01c0 | ~
invlpgb   6 3 | | 0f01fe | ~
tlbsync   6 3 | | 0f01ff | ~
mcommit   6 3 | | f3 0f01fa | ~
psmash    6 | | f3 0f01ff | ~
pvalidate 6 3 | | f2 0f01ff | ~
rmpadjust 6 | | f3 0f01fe | ~
rmpupdate 6 | | f2 0f01fe | ~
rdpru     6 3 | | 0f01fd | ~
rdmsrlist 6 | | f2 0f01c6 | ~
wrmsrlist 6 | | f3 0f01c6 | ~
wrmsrns   6 3 | | 0f01c6 | ~
seamcall  6 | | 66 0f01cf | ~
seamops   6 | | 66 0f01ce | ~
seamret   6 | | 66 0f01cd | ~
tdcall    6 3 | | 66 0f01cc | ~
xsusldtrk 6 3 | | f2 0f01e8 | ~
xresldtrk 6 3 | | f2 0f01e9 | ~
prefetchwt1 6 3 | m/m1/m2/m4/m8 | 0f0d /2 | ~
mwait     6 3 | eax ecx | 0f01c9 | mwait -
mwait     6 | rax rcx | 0f01c9 | mwait -
monitor   6 | rax ecx edx | 0f01c8 | monitor -
monitor   6 | rax rcx rdx | 0f01c8 | monitor -
monitor   3 | eax ecx edx | 0f01c8 | monitor -
invlpga   6 | | 0f01df
invlpga   6 | rax ecx | 0f01df | invlpga -
invlpga   3 | | 0f01df
invlpga   3 | eax ecx | 0f01df | invlpga -
clzero    6 | rax | 0f01fc | clzero -
clzero    3 | eax | 0f01fc | clzero -
vmload    6 3 | | 0f01da | vmload
vmsave    6 3 | | 0f01db | vmsave
vmrun     6 3 | | 0f01d8 | vmrun
pop       6 3 | m | 8f /0
imul      6 3 | V i | ov 6b /rr ibs
imul      6 3 | V i | ov 69 /rr iv
lar       6 3 | V w/m/m2 | ov 0f02 /r | ~
lar       6 3 | d d | 0f02 /r | ~
lar       6 | q q | o64 0f02 /r | ~
lsl       6 3 | V w/m/m2 | ov 0f03 /r | ~
lsl       6 3 | d d | 0f03 /r | ~
lsl       6 | q q | o64 0f03 /r | ~
movsx     6 | q m4 | o64 63 /r | movsxd 1 2
wbnoinvd  6 3 1 | | f3 0f09
pconfig   6 3 | | 0f01c5
skinit    6 3 | | 0f01de
skinit    6 3 | eax | 0f01de
tpause    6 3 | d | 66 0fae /6
umwait    6 3 | d | f2 0fae /6
umonitor  6 | q | f3 0fae /6
umonitor  3 | d | f3 0fae /6
ud0       6 3 1 | V V/E | ov 0fff /r | ~
ud1       6 3 1 | V V/E | ov 0fb9 /r | ~
ud2       6 3 1 | | 0f0b
sysretq   6 | | o64 0f07
sysexitq  6 | | o64 0f35
sysret    3 1 | | 0f07
retq      6 | | c3
retq      6 | i | c2 iw
leaveq    6 | | c9
xchg      6 3 | ax ax | 66 90 | nop -
xchg      6 | rax rax | 90 | nop -
xchg      3 | eax eax | 90 | nop -
xlatb     6 3 1 | | d7
int1      6 3 1 | | f1
int3      6 3 1 | | cc
int       6 3 1 | 3 | cc | int3 -
int       6 3 1 | i | cd ib
enter     6 3 1 | i i | c8 iw ib
iretd     6 3 | | cf
iretd     1 | | 66 cf
iretq     6 | | o64 cf
iret      6 3 | | cf | iretd
iret      1 | | cf | iret
pushf     6 | | 9c | pushfq
pushf     3 | | 9c | pushfd
pushf     1 | | 9c
popf      6 | | 9d | popfq
popf      3 | | 9d | popfd
popf      1 | | 9d
pushfq    6 | | 9c
popfq     6 | | 9d
pushfd    3 | | 9c
popfd     3 | | 9d
pushfd    1 | | 66 9c
popfd     1 | | 66 9d
pusha     3 | | 60 | pushad
pusha     1 | | 60
popa      3 | | 61 | popad
popa      1 | | 61
pushad    3 | | 60
popad     3 | | 61
pushad    1 | | 66 60
popad     1 | | 66 61
aad       3 1 | | d50a
aad       3 1 | i | d5 ib
aam       3 1 | | d40a
aam       3 1 | i | d4 ib
retf      6 3 1 | | cb
retf      6 3 1 | i | ca iw
retfq     6 | | o64 cb
retfq     6 | i | o64 ca iw
lret      6 3 1 | | cb
lret      6 3 1 | i | ca iw
movsd     6 3 | | a5
movsd     1 | | 66 a5
cmpsd     6 3 | | a7
cmpsd     1 | | 66 a7
fxsave64  6 | m | o64 0fae /0
fxrstor64 6 | m | o64 0fae /1
push      6 3 1 | fs | 0fa0
push      6 3 1 | gs | 0fa8
pop       6 3 1 | fs | 0fa1
pop       6 3 1 | gs | 0fa9
push      3 1 | es | 06
push      3 1 | cs | 0e
push      3 1 | ss | 16
push      3 1 | ds | 1e
pop       3 1 | es | 07
pop       3 1 | ss | 17
pop       3 1 | ds | 1f
movabs    6 | al m/m1 | moffs a0
movabs    6 | ax/eax/rax m/m2/m4/m8 | moffs a1
movabs    6 | m/m1 al | moffs a2
movabs    6 | m/m2/m4/m8 ax/eax/rax | moffs a3
movabs    6 | q i | o64 b8 +r iq
mov       6 3 | s w/d/q | 8e /r | mov 1 2d
mov       1 | s w/d | 8e /r | mov 1 2w
mov       6 3 1 | s m/m2 | 8e /r
mov       6 3 1 | w s | o16 8c /mr
mov       6 3 1 | d s | o32 8c /mr
mov       6 | q s | 8c /mr | mov 1d 2
mov       6 3 1 | m/m2 s | 8c /mr
mov       3 | cr8 d | f0 0f22 /0.2 | ~
str       6 3 1 | w | o16 0f00 /1
str       6 3 1 | d | o32 0f00 /1
str       6 | q | 0f00 /1 | str 1d
str       6 3 1 | m/m2 | 0f00 /1
sldt      6 3 1 | w | o16 0f00 /0
sldt      6 3 1 | d | o32 0f00 /0
sldt      6 | q | 0f00 /0 | sldt 1d
sldt      6 3 1 | m/m2 | 0f00 /0
smsw      6 3 1 | w | o16 0f01 /4
smsw      6 3 1 | d | o32 0f01 /4
smsw      6 | q | o64 0f01 /4
smsw      6 3 1 | m/m2 | 0f01 /4
lmsw      6 3 1 | w/m/m2 | 0f01 /6
lldt      6 3 1 | w/m/m2 | 0f00 /2
ltr       6 3 1 | w/m/m2 | 0f00 /3
verr      6 3 1 | w/m/m2 | 0f00 /4
verw      6 3 1 | w/m/m2 | 0f00 /5
sgdt      6 3 1 | m/m10 | 0f01 /0
sgdt      3 | m6 | 0f01 /0
sgdt      1 | m6 | 66 0f01 /0
sidt      6 3 1 | m/m10 | 0f01 /1
sidt      3 | m6 | 0f01 /1
sidt      1 | m6 | 66 0f01 /1
lgdt      6 3 1 | m/m10 | 0f01 /2
lgdt      3 | m6 | 0f01 /2
lgdt      1 | m6 | 66 0f01 /2
lidt      6 3 1 | m/m10 | 0f01 /3
lidt      3 | m6 | 0f01 /3
lidt      1 | m6 | 66 0f01 /3
invlpg    6 3 1 | m/m1 | 0f01 /7
lgdtd     1 | m | 66 0f01 /2
lidtd     1 | m | 66 0f01 /3
sgdtd     1 | m | 66 0f01 /0
sidtd     1 | m | 66 0f01 /1
nop       6 3 1 | E | ov 0f1f /0
ljmp      6 3 1 | m | ff /5
lcall     6 3 1 | m | ff /3
jmp       6 3 1 | mf | ff /5 | ljmp 1
call      6 3 1 | mf | ff /3 | lcall 1
jmp       6 3 | m6 | ff /5 | ljmp 1
call      6 3 | m6 | ff /3 | lcall 1
jmp       1 | m6 | 66 ff /5 | ljmp 1
call      1 | m6 | 66 ff /3 | lcall 1
ljmp      3 1 | f | ea
lcall     3 1 | f | 9a
jmp       3 1 | f | ea | ljmp 1
call      3 1 | f | 9a | lcall 1
xbegin    6 3 1 | j | c7f8
"""

# 16-bit code: the integer instructions. Those above marked 1 belong to it too.
_SIXTEEN: Final = """
mov    1 | al m | moffs a0
mov    1 | ax m | moffs a1
mov    1 | eax m | moffs o32 a1
mov    1 | m al | moffs a2
mov    1 | m ax | moffs a3
mov    1 | m eax | moffs o32 a3
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


def lines(sixteen: bool) -> list[str]:
    """All rows as ``mnemonic modes | operands | encoding``; those of 16-bit code only when asked for."""
    text = _COMMON + (_SIXTEEN if sixteen else "")
    found = [line for line in text.splitlines() if line]
    return found + _regular() if sixteen else found

# Keystone gives other or wrong bytes for these where no row fits.
NEVER_KEYSTONE: Final = frozenset(
    """bndcl bndcn bndcu bndmk bndmov bndldx bndstx fsetpm montmul xcryptcbc xcryptcfb xcryptctr xcryptecb xcryptofb
    xsha1 xsha256 salc icebp""".split()
)

"""The hand-made table: what Keystone encodes wrongly, does not know, or must not be asked, and all 16-bit code.

Owns opcodes by operand form (Intel SDM vol. 2, the opcode tables of each instruction), in the notation of the
manual. A row has the modes, the operands and the encoding; the first row of a mnemonic that fits is taken, so rows
stand in the order in which GNU as prefers them. The bytes still go through Capstone before anybody sees them.

Operands: ``b w d q`` general registers, ``s C G`` segment, control and debug registers, ``x M`` vector registers,
``m`` memory of no named size and ``m1 m2 m4 ...`` of a named one (``mf`` far), ``i`` a number, ``al cl dx ...``
that register, ``f`` a far pointer; ``/`` between alternatives. ``V`` is ``w/d/q``, ``v`` is ``w/d``, ``E`` is
``w/d/q/m/m2/m4/m8`` and ``E8`` is ``b/m/m1``.

Encoding: opcode bytes in hex; ``/r`` first operand in ModRM.reg, second in ModRM.rm; ``/mr`` the other way round;
``/0``-``/7`` a digit, the first operand in ModRM.rm (``/0.2`` the second), ``/rr`` the first in both; ``+r``
the register in the opcode (``+r2`` the second operand); ``ib iw id iq iv`` immediates (``iv``: as wide as the
operands, at most 4 bytes; ``ibs`` sign-extended); ``ov`` operand size from the operands;
``o16 o32 o64`` that operand size; ``66 f2 f3`` before the opcode are mandatory prefixes; ``moffs`` a bare address.

A fourth column says how the decoder reads the bytes where that is not the statement itself: a mnemonic and operand
numbers, ``1d`` for operand 1 as a 32-bit register, ``-`` for none; ``~`` where Capstone does not know the instruction.
"""

from __future__ import annotations

from typing import Final

from toolchain.registers import word_set

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
"""

# Keystone gives other or wrong bytes for these where no row fits.
NEVER_KEYSTONE: Final = word_set(
    """bndcl bndcn bndcu bndmk bndmov bndldx bndstx fsetpm montmul xcryptcbc xcryptcfb xcryptctr xcryptecb xcryptofb
    xsha1 xsha256 salc icebp"""
)


def lines(sixteen: bool) -> list[str]:
    """All rows as ``mnemonic modes | operands | encoding``; those of 16-bit code only when asked for."""
    found = [line for line in _COMMON.splitlines() if line]
    if sixteen:
        from toolchain import encode_sixteen  # few builds need it

        found += encode_sixteen.lines()
    return found

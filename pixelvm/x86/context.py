"""What translated code and Python share while a machine runs: the layout of a context, the way in and out.

Owns the offsets, the reasons for leaving and the two templates that save and restore the host's registers. The
templates stand here as source and as bytes; a test assembles the one with the toolchain and compares the other.

While translated code runs: rbx = context, rsi = 4 * depth of the stack, ebp = fuel, r15 = memory, xmm0 = 0; rax is
scratch; rcx, rdx, r8 and r9 hold values of a block; r10 to r14 and rdi hold locals. The host's stack holds the frames:
rsp points to the locals of the innermost one, behind them lies the address that it returns to.
"""

from __future__ import annotations

from pixelvm import isa

STACK = 0  # isa.STACK_SLOTS words
LOCALS = STACK + 4 * isa.STACK_SLOTS  # isa.FRAMES * isa.LOCALS words
FRAME = 4 * isa.LOCALS  # bytes of one frame's locals
CALLED = 8 + FRAME  # bytes of one call on the host's stack
RETURNS = (
    LOCALS + FRAME * isa.FRAMES
)  # isa.FRAMES addresses: of the frames but the entry's, while Python runs
FIELDS = RETURNS + 8 * isa.FRAMES

MEMORY = FIELDS  # address of memory
TARGET = FIELDS + 8  # address where to go on
EXIT = FIELDS + 16  # address of LEAVE
BOTTOM = FIELDS + 24  # rsp in the entry's frame
LAST = FIELDS + 32  # rsp in the last frame that there can be
FUEL = FIELDS + 40
DEPTH = FIELDS + 44  # bytes of the stack in use
FRAMES = FIELDS + 48  # frames but the entry's
SEED = FIELDS + 52
PC = FIELDS + 56
REASON = FIELDS + 60

SLOTS = FIELDS + 64  # addresses of code that other code goes on to; what they lead to may come later
SLOTS_MAX = 1 << 16
SIZE = SLOTS + 8 * SLOTS_MAX

# Why translated code was left.
HALT = 0  # it stands at a halt that was paid for
SLOW = 1  # an instruction of the block will stop the machine: the reference decides where and why
SYSTEM = 2  # it stands at a system call that was paid for and can be made
MISSING = 3  # it goes on where nothing is translated yet
RETURNED = 4  # it returned from a frame that was there when it was entered

ENTER_SOURCE = f"""
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rbx, rdi
    xorps xmm0, xmm0
    mov ecx, dword ptr [rbx + {FRAMES}]
    lea rdx, [rbx + {LOCALS}]
    xor eax, eax
    sub rsp, {FRAME}
    mov qword ptr [rbx + {BOTTOM}], rsp
    lea rdi, [rsp - {(isa.FRAMES - 1) * CALLED}]
    mov qword ptr [rbx + {LAST}], rdi
.Lframe:
    movups xmm1, xmmword ptr [rdx]
    movups xmm2, xmmword ptr [rdx + 16]
    movups xmm3, xmmword ptr [rdx + 32]
    movups xmm4, xmmword ptr [rdx + 48]
    movups xmmword ptr [rsp], xmm1
    movups xmmword ptr [rsp + 16], xmm2
    movups xmmword ptr [rsp + 32], xmm3
    movups xmmword ptr [rsp + 48], xmm4
    cmp eax, ecx
    jae .Ldone
    push qword ptr [rbx + rax*8 + {RETURNS}]
    sub rsp, {FRAME}
    inc eax
    add rdx, {FRAME}
    jmp .Lframe
.Ldone:
    mov ebp, dword ptr [rbx + {FUEL}]
    mov esi, dword ptr [rbx + {DEPTH}]
    mov r15, qword ptr [rbx + {MEMORY}]
    jmp qword ptr [rbx + {TARGET}]
"""

LEAVE_SOURCE = f"""
    mov dword ptr [rbx + {FUEL}], ebp
    mov dword ptr [rbx + {DEPTH}], esi
    mov rax, qword ptr [rbx + {BOTTOM}]
    sub rax, rsp
    xor edx, edx
    mov ecx, {CALLED}
    div ecx
    mov dword ptr [rbx + {FRAMES}], eax
    mov ecx, eax
    shl ecx, 6
    lea rdx, [rbx + rcx + {LOCALS}]
.Lframe:
    movups xmm1, xmmword ptr [rsp]
    movups xmm2, xmmword ptr [rsp + 16]
    movups xmm3, xmmword ptr [rsp + 32]
    movups xmm4, xmmword ptr [rsp + 48]
    movups xmmword ptr [rdx], xmm1
    movups xmmword ptr [rdx + 16], xmm2
    movups xmmword ptr [rdx + 32], xmm3
    movups xmmword ptr [rdx + 48], xmm4
    add rsp, {FRAME}
    test eax, eax
    je .Ldone
    dec eax
    pop qword ptr [rbx + rax*8 + {RETURNS}]
    sub rdx, {FRAME}
    jmp .Lframe
.Ldone:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
"""

RETURNED_SOURCE = f"""
    mov dword ptr [rbx + {REASON}], {RETURNED}
    jmp qword ptr [rbx + {EXIT}]
"""

ENTER = bytes.fromhex(
    "535541544155415641574889fb0f57c08b8b30160000488d930004000031c04883ec404889a318160000488dbc2448eeffff"
    "4889bb201600000f100a0f1052100f105a200f1062300f110c240f115424100f115c24200f1164243039c87313ffb4c30014"
    "00004883ec40ffc04883c240ebc78bab281600008bb32c1600004c8bbb00160000ffa308160000"
)
LEAVE = bytes.fromhex(
    "89ab2816000089b32c160000488b83181600004829e031d2b948000000f7f189833016000089c1c1e106488d940b00040000"
    "0f100c240f105424100f105c24200f106424300f110a0f1152100f115a200f1162304883c44085c0740fffc88f84c3001400"
    "004883ea40ebc7415f415e415d415c5d5bc3"
)
RETURNED_CODE = bytes.fromhex("c7833c16000004000000ffa310160000")

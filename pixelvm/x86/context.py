"""What translated code and Python share while a machine runs: the layout of a context, the way in and out.

Owns the offsets, the reasons for leaving and the two templates that save and restore the host's registers. The
templates stand here as source and as bytes; a test assembles the one with the toolchain and compares the other.

While translated code runs: rbx = context, rsi = 4 * depth of the stack, rdi = the frame's locals, ebp = fuel,
r15 = memory, xmm0 = 0; rax is scratch; rcx, rdx, r8 and r9 hold values of a block; r10 to r14 hold locals. The
host's stack holds a return address for each frame but the entry's.
"""

from __future__ import annotations

from pixelvm import isa

STACK = 0  # isa.STACK_SLOTS words
LOCALS = STACK + 4 * isa.STACK_SLOTS  # isa.FRAMES * isa.LOCALS words
FRAME = 4 * isa.LOCALS  # bytes of one frame
RETURNS = (
    LOCALS + FRAME * isa.FRAMES
)  # isa.FRAMES addresses: of the frames but the entry's, while Python runs
FIELDS = RETURNS + 8 * isa.FRAMES

MEMORY = FIELDS  # address of memory
TARGET = FIELDS + 8  # address where to go on
EXIT = FIELDS + 16  # address of LEAVE
BOTTOM = FIELDS + 24  # rsp in the entry's frame
LAST = FIELDS + 32  # address of the locals of the last frame that there can be
FUEL = FIELDS + 40
DEPTH = FIELDS + 44  # bytes of the stack in use
FRAMES = FIELDS + 48  # frames but the entry's
SEED = FIELDS + 52
PC = FIELDS + 56
REASON = FIELDS + 60

SLOTS = FIELDS + 64  # addresses of code that other code goes on to; what they lead to may come later
SLOTS_MAX = 1 << 13
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
    mov qword ptr [rbx + {BOTTOM}], rsp
    mov ecx, dword ptr [rbx + {FRAMES}]
    xor eax, eax
.Lnext:
    cmp eax, ecx
    jae .Ldone
    push qword ptr [rbx + rax*8 + {RETURNS}]
    inc eax
    jmp .Lnext
.Ldone:
    shl ecx, 6
    lea rdi, [rbx + rcx + {LOCALS}]
    mov ebp, dword ptr [rbx + {FUEL}]
    mov esi, dword ptr [rbx + {DEPTH}]
    mov r15, qword ptr [rbx + {MEMORY}]
    xorps xmm0, xmm0
    jmp qword ptr [rbx + {TARGET}]
"""

LEAVE_SOURCE = f"""
    mov dword ptr [rbx + {FUEL}], ebp
    mov dword ptr [rbx + {DEPTH}], esi
    mov rax, qword ptr [rbx + {BOTTOM}]
    sub rax, rsp
    shr eax, 3
    mov dword ptr [rbx + {FRAMES}], eax
.Lnext:
    test eax, eax
    je .Ldone
    dec eax
    pop qword ptr [rbx + rax*8 + {RETURNS}]
    jmp .Lnext
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
    sub rdi, {FRAME}
    mov dword ptr [rbx + {REASON}], {RETURNED}
    jmp qword ptr [rbx + {EXIT}]
"""

ENTER = bytes.fromhex(
    "535541544155415641574889fb4889a3181600008b8b3016000031c039c8730bffb4c300140000ffc0ebf1c1e106488dbc0b"
    "000400008bab281600008bb32c1600004c8bbb001600000f57c0ffa308160000"
)
LEAVE = bytes.fromhex(
    "89ab2816000089b32c160000488b83181600004829e0c1e80389833016000085c0740bffc88f84c300140000ebf1415f415e"
    "415d415c5d5bc3"
)
RETURNED_CODE = bytes.fromhex("4883ef40c7833c16000004000000ffa310160000")

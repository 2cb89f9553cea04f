# Purpose:  a priority queue: a binary heap over rows that somebody else allocated.
# Mode:     64-bit long mode
# Exports:  queue_push queue_pop
# Invariants: the key of a row is not smaller than that of its parent. Both routines take time that grows with the
#           logarithm of the count. Rows of equal keys come out in no order that is promised.
#
#   row 0 is the root; the parent of row n is (n - 1) / 2, its children are 2n + 1 and 2n + 2. Here rows are byte
#   offsets: children of o are 2o + 16 and 2o + 32.
.intel_syntax noprefix
.include "macros.inc"
.include "sched.inc"

.section .text, "ax"

# queue_push -- put a row into a queue
# In:       rdi = queue:ptr (QUEUE_*), rsi = key:u64, rdx = value:u64
# Out:      cf = it is full
# Clobbers: rax, rcx, r8, r9
# Context:  long mode, interrupts off
function queue_push
    mov rcx, [rdi + QUEUE_COUNT]
    cmp rcx, [rdi + QUEUE_CAPACITY]
    jae .Lpush_full
    inc qword ptr [rdi + QUEUE_COUNT]
    mov r8, [rdi + QUEUE_ROWS]
    shl rcx, QUEUE_ROW_SHIFT                    # where the row goes
.Lpush_up:
    test rcx, rcx
    jz .Lpush_place
    lea rax, [rcx - QUEUE_ROW_SIZE]
    shr rax, 1
    and rax, -QUEUE_ROW_SIZE                    # its parent
    mov r9, [r8 + rax + QUEUE_ROW_KEY]
    cmp r9, rsi
    jbe .Lpush_place
    mov [r8 + rcx + QUEUE_ROW_KEY], r9
    mov r9, [r8 + rax + QUEUE_ROW_VALUE]
    mov [r8 + rcx + QUEUE_ROW_VALUE], r9
    mov rcx, rax
    jmp .Lpush_up
.Lpush_place:
    mov [r8 + rcx + QUEUE_ROW_KEY], rsi
    mov [r8 + rcx + QUEUE_ROW_VALUE], rdx
    clc
    ret
.Lpush_full:
    stc
    ret
end_function queue_push

# queue_pop -- take the row with the smallest key out of a queue
# In:       rdi = queue:ptr (QUEUE_*)
# Out:      rax = key:u64, rdx = value:u64, cf = it is empty
# Clobbers: rcx, rsi, r8, r9, r10, r11
# Context:  long mode, interrupts off
function queue_pop
    mov rcx, [rdi + QUEUE_COUNT]
    sub rcx, 1
    jc .Lpop_return
    mov [rdi + QUEUE_COUNT], rcx
    mov r8, [rdi + QUEUE_ROWS]
    mov rax, [r8 + QUEUE_ROW_KEY]
    mov rdx, [r8 + QUEUE_ROW_VALUE]
    shl rcx, QUEUE_ROW_SHIFT                    # the last row: it goes where a place is found, from the root down
    mov r10, [r8 + rcx + QUEUE_ROW_KEY]
    xor esi, esi
.Lpop_down:
    lea r9, [rsi + rsi + QUEUE_ROW_SIZE]
    cmp r9, rcx
    jae .Lpop_place                             # no child
    mov r11, [r8 + r9 + QUEUE_ROW_KEY]
    add r9, QUEUE_ROW_SIZE
    cmp r9, rcx
    jae .Lpop_left
    cmp [r8 + r9 + QUEUE_ROW_KEY], r11
    jae .Lpop_left
    mov r11, [r8 + r9 + QUEUE_ROW_KEY]
    jmp .Lpop_compare
.Lpop_left:
    sub r9, QUEUE_ROW_SIZE
.Lpop_compare:
    cmp r11, r10
    jae .Lpop_place
    mov [r8 + rsi + QUEUE_ROW_KEY], r11
    mov r11, [r8 + r9 + QUEUE_ROW_VALUE]
    mov [r8 + rsi + QUEUE_ROW_VALUE], r11
    mov rsi, r9
    jmp .Lpop_down
.Lpop_place:
    mov r11, [r8 + rcx + QUEUE_ROW_VALUE]
    mov [r8 + rsi + QUEUE_ROW_KEY], r10
    mov [r8 + rsi + QUEUE_ROW_VALUE], r11
    clc
.Lpop_return:
    ret
end_function queue_pop

# Purpose:  whether a CPU can do in time what it is asked for: the arithmetic of admission.
# Mode:     64-bit long mode
# Spec:     Liu and Layland 1973, theorem 7; with deadlines before the period's end the sum of C / min(D, T) is a
#           sufficient test (density); Baker 1991: sections without preemption cost once their length over the shortest
#           window
# Exports:  admit_share admit_total
# Invariants: rounded up everywhere: what is admitted fits.
.intel_syntax noprefix
.include "macros.inc"
.include "sched.inc"

.section .text, "ax"

# admit_share -- parts per million that some nanoseconds are of a window, rounded up
# In:       rdi = cost:u64, rsi = window:u64
# Out:      rax = ppm:u64[0..0xffffffff] (the highest stands for all beyond, and for a window of 0)
# Clobbers: rcx, rdx
# Context:  long mode, any IF
function admit_share
    mov eax, PPM
    mul rdi
    mov rcx, rsi
    sub rcx, 1
    jc .Lshare_most
    add rax, rcx
    adc rdx, 0
    cmp rdx, rsi
    jae .Lshare_most
    div rsi
    mov ecx, SHARE_MOST
    cmp rax, rcx
    cmova rax, rcx
    ret
.Lshare_most:
    mov eax, SHARE_MOST
    ret
end_function admit_share

# admit_total -- what a CPU would have to do with one thread more
# In:       rdi = load:u64[0..0xffffffff] (ppm, admitted so far), rsi = share:u64[0..0xffffffff] (ppm, of the thread),
#           rdx = section:u64 (ns, the longest without preemption), rcx = window:u64 (ns, the shortest of all)
# Out:      rax = total:u64 (ppm), cf = too much
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, any IF
function admit_total
    call_frame
    push rbx
    push rbx
    lea rbx, [rdi + rsi]
    mov rdi, rdx
    mov rsi, rcx
    xor eax, eax
    test rdi, rdi
    jz .Ltotal_sum
    call admit_share
.Ltotal_sum:
    add rbx, rax
    mov rax, rbx
    mov ecx, PPM
    cmp rcx, rax                                # cf: more than all
    pop rbx
    pop rbx
    return_frame
end_function admit_total

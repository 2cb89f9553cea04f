# Purpose:  log-linear histograms of nanoseconds: small, exact to an eighth, for any size of value.
# Mode:     64-bit long mode
# Exports:  histogram_add histogram_index histogram_upper histogram_percentile
# Invariants: a value below 16 has a bucket of its own; above, each octave has 8 buckets of equal width. What is said of a
#           percentile is the upper end of its bucket: never less than it was, at most an eighth more.
.intel_syntax noprefix
.include "macros.inc"
.include "sched.inc"

.set PER_MILLE, 1000

.section .text, "ax"

# histogram_index -- the bucket of a value
# In:       rdi = value:u64
# Out:      eax = index:u32[0..271]
# Clobbers: rcx
# Context:  long mode, any IF
function histogram_index
    mov rax, (1 << HISTOGRAM_BITS) - 1
    cmp rdi, rax
    cmovb rax, rdi
    cmp rax, HISTOGRAM_EXACT
    jb .Lindex_return
    bsr rcx, rax
    sub ecx, HISTOGRAM_LINEAR_SHIFT
    shr rax, cl                                 # 8 to 15
    lea eax, [rax + rcx * 8]                    # 1 << HISTOGRAM_LINEAR_SHIFT
.Lindex_return:
    ret
end_function histogram_index

# histogram_upper -- the largest value of a bucket
# In:       edi = index:u32[0..271]
# Out:      rax = value:u64
# Clobbers: rcx
# Context:  long mode, any IF
function histogram_upper
    mov eax, edi
    cmp eax, HISTOGRAM_EXACT
    jb .Lupper_return
    mov ecx, edi
    shr ecx, HISTOGRAM_LINEAR_SHIFT
    dec ecx
    and eax, (1 << HISTOGRAM_LINEAR_SHIFT) - 1
    add eax, (1 << HISTOGRAM_LINEAR_SHIFT) + 1
    shl rax, cl
    dec rax
.Lupper_return:
    ret
end_function histogram_upper

# histogram_add -- count a value
# In:       rdi = buckets:ptr (HISTOGRAM_BUCKETS quads), rsi = value:u64
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF
function histogram_add
    call_frame
    push rdi
    push rsi
    mov rdi, rsi
    call histogram_index
    mov rdi, [rsp + 8]
    inc qword ptr [rdi + rax * 8]
    pop rsi
    pop rdi
    return_frame
end_function histogram_add

# histogram_percentile -- the value that so many of a thousand do not exceed
# In:       rdi = buckets:ptr (HISTOGRAM_BUCKETS quads), rsi = count:u64 (of all values), edx = share:u32[1..1000]
# Out:      rax = value:u64 (0 where there is none)
# Clobbers: rcx, rdx, rsi, rdi, r8
# Context:  long mode, any IF
function histogram_percentile
    mov r8, rdi
    mov eax, edx
    mul rsi
    test rsi, rsi
    jz .Lpercentile_none
    add rax, PER_MILLE - 1
    adc rdx, 0
    mov ecx, PER_MILLE
    cmp rdx, rcx
    jae .Lpercentile_none                       # no count is that large
    div rcx                                     # how many from below, rounded up
    xor edi, edi
.Lpercentile_next:
    sub rax, [r8 + rdi * 8]
    jbe .Lpercentile_found
    inc edi
    cmp edi, HISTOGRAM_BUCKETS - 1
    jb .Lpercentile_next
.Lpercentile_found:
    jmp histogram_upper
.Lpercentile_none:
    xor eax, eax
    ret
end_function histogram_percentile

# Purpose:  draw the two families of seed codes whose tiles cannot be drawn quickly by arrays: automaton and julia.
# Mode:     64-bit, System V ABI, called from Python (pixelvm.god.native); position-independent, no stack, SSE2 alone.
# Spec:     pixelvm/god/SPEC.md, the table of families
# Exports:  god_automaton god_julia
# Invariants: writes the 65,536 bytes of the tile and nothing else. pixelvm.god.seed draws the same with NumPy and is the
#           definition; a test holds the two equal, word for word.
.intel_syntax noprefix
.include "draw.inc"

.set TILE_BYTES, GOD_SIDE * GOD_SIDE * 4
.set LANES, 4                                   # pixels in an xmm register
.set PAIR, 2 * LANES                            # pixels of a round of julia: two registers, their chains independent
.set RULE_BITS, 8

.section .text, "ax"

# Eight outcomes of a rule as bits, from three neighbours: outcome n = left << 2 | cell << 1 | right. xmm8 + 2 k holds
# outcome 2 k in every bit, xmm9 + 2 k what turns it into outcome 2 k + 1.
.macro god_outcome even, change, number
    mov eax, ecx
    shr eax, \number
    mov edx, eax
    and edx, 1
    neg edx
    movd \even, edx
    pshufd \even, \even, 0
    shr eax
    and eax, 1
    neg eax
    movd \change, eax
    pshufd \change, \change, 0
    pxor \change, \even
.endm

# \to = (right ? odd outcome : even outcome), bit by bit
.macro god_by_right to, even, change
    movdqa \to, xmm2
    pand \to, \change
    pxor \to, \even
.endm

# \low = (\by ? \high : \low), bit by bit; \high is used up
.macro god_choose low, high, by
    pxor \high, \low
    pand \high, \by
    pxor \low, \high
.endm

# god_automaton -- a tile of an elementary cellular automaton: 128 rows of 128 cells in a ring, a cell alive is white
# In:       rdi = tile:ptr, rsi = cells of row 0, 0 to 63:u64, rdx = cells 64 to 127:u64, ecx = rule:u32[0..255]
# Out:      the tile
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12,
#           xmm13, xmm14, xmm15
# Context:  user mode
.global god_automaton
.type god_automaton, @function
god_automaton:
    movq xmm0, rsi
    movq xmm1, rdx
    punpcklqdq xmm0, xmm1                       # the row, cell x its bit x
    god_outcome xmm8, xmm9, 0
    god_outcome xmm10, xmm11, 2
    god_outcome xmm12, xmm13, 4
    god_outcome xmm14, xmm15, 6
    mov rax, 0x200000001
    movq xmm6, rax
    shl rax, 2
    movq xmm7, rax
    punpcklqdq xmm6, xmm7                       # bit n in lane n
    pcmpeqd xmm7, xmm7
    pslld xmm7, 24                              # opaque black
    lea r8, [rdi + TILE_BYTES]
.Lautomaton_row:
    movdqa xmm5, xmm0
    mov ecx, GOD_SIDE / 32
.Lautomaton_word:
    pshufd xmm4, xmm5, 0
    mov eax, 32 / LANES
.Lautomaton_lanes:
    movdqa xmm3, xmm4
    pand xmm3, xmm6
    pcmpeqd xmm3, xmm6
    por xmm3, xmm7
    movdqu [rdi], xmm3
    psrld xmm4, LANES
    add rdi, 16
    dec eax
    jnz .Lautomaton_lanes
    psrldq xmm5, 4
    dec ecx
    jnz .Lautomaton_word
    pshufd xmm3, xmm0, 0x4e                     # the halves exchanged
    movdqa xmm1, xmm0
    psllq xmm1, 1
    movdqa xmm2, xmm3
    psrlq xmm2, 63
    por xmm1, xmm2                              # each cell's left neighbour
    movdqa xmm2, xmm0
    psrlq xmm2, 1
    psllq xmm3, 63
    por xmm2, xmm3                              # each cell's right neighbour
    god_by_right xmm3, xmm8, xmm9
    god_by_right xmm4, xmm10, xmm11
    god_choose xmm3, xmm4, xmm0
    god_by_right xmm4, xmm12, xmm13
    god_by_right xmm5, xmm14, xmm15
    god_choose xmm4, xmm5, xmm0
    god_choose xmm3, xmm4, xmm1
    movdqa xmm0, xmm3
    cmp rdi, r8
    jb .Lautomaton_row
    ret
.size god_automaton, . - god_automaton

# One step of four points. Re z lies in the low, Im z in the high 16 bits of a lane: a point with |z| <= 2 has both in
# -8192..8192, its next z lies in -24576..24576, and a beginning in -32385..32385, so that no sum leaves its bits.
.macro god_step z, count, alive, one, other
    movdqa \one, \z
    pmaddwd \one, \z                            # |z|^2
    pcmpgtd \one, xmm9
    pandn \one, \alive
    movdqa \alive, \one
    psubd \count, \one
    movdqa \one, \z
    pmullw \one, xmm10
    pmaddwd \one, \z                            # Re z^2
    pshuflw \other, \z, 0xb1
    pshufhw \other, \other, 0xb1
    pmaddwd \other, \z                          # Im z^2
    pslld \one, 16 - GOD_JULIA_FRACTION
    psrld \one, 16
    psrld \other, GOD_JULIA_FRACTION
    pslld \other, 16
    por \one, \other
    paddw \one, xmm8
    movdqa \z, \one
.endm

# Four counts as opaque grey pixels at \at, and the other way round at \mirror; xmm6 and xmm7 are used up.
.macro god_levels count, at, mirror
    pslld \count, GOD_JULIA_GREY_SHIFT
    pcmpeqd xmm6, xmm6
    movdqa xmm7, xmm6
    psrld xmm6, 24
    pslld xmm7, 24
    pand \count, xmm6                           # a level has 8 bits
    por xmm7, \count
    pslld \count, 8
    por xmm7, \count
    pslld \count, 8
    por xmm7, \count
    movdqu [\at], xmm7
    pshufd xmm7, xmm7, 0x1b
    movdqu [\mirror], xmm7
.endm

# god_julia -- a tile of a Julia set: its upper half, and the same turned by 180 degrees
# In:       rdi = tile:ptr, esi = Re c:i32[-8192..8191], edx = Im c:i32[-8192..8191], ecx = step:u32[1..255]
# Out:      the tile
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11,
#           xmm12, xmm13, xmm14, xmm15
# Context:  user mode
.global god_julia
.type god_julia, @function
god_julia:
    movzx esi, si
    shl edx, 16
    or esi, edx
    movd xmm8, esi
    pshufd xmm8, xmm8, 0                        # c
    mov eax, GOD_JULIA_ESCAPE
    movd xmm9, eax
    pshufd xmm9, xmm9, 0                        # the greatest |z|^2 that has not escaped
    mov eax, 0xffff0001
    movd xmm10, eax
    pshufd xmm10, xmm10, 0                      # 1 and -1
    lea eax, [rcx * 2 * LANES]
    movd xmm11, eax
    pshufd xmm11, xmm11, 0                      # on by four pixels; Re z has 16 bits, and 8 * 255 has fewer
    imul eax, ecx, -2 * GOD_SIDE
    movzx eax, ax
    mov edx, ecx
    shl edx, 17
    or eax, edx
    movd xmm12, eax
    pshufd xmm12, xmm12, 0                      # down by a row and back by its pixels
    imul eax, ecx, 1 - GOD_SIDE
    movzx eax, ax
    mov edx, eax
    shl edx, 16
    or eax, edx
    movd xmm15, eax
    pshufd xmm15, xmm15, 0                      # z of the corner; then of the four pixels that are next
    lea eax, [rcx * 2]
    movd xmm0, eax
    pslldq xmm0, 4
    paddw xmm15, xmm0                           # lane 1: one further
    pslldq xmm0, 4
    paddw xmm15, xmm0
    paddw xmm15, xmm0                           # lane 2: two
    pslldq xmm0, 4
    paddw xmm15, xmm0
    paddw xmm15, xmm0
    paddw xmm15, xmm0                           # lane 3: three
    lea rsi, [rdi + TILE_BYTES - 16]            # the mirrored pixels go down from here
    mov r8d, GOD_SIDE / 2
.Ljulia_row:
    mov r9d, GOD_SIDE / PAIR
.Ljulia_pair:
    movdqa xmm0, xmm15
    paddw xmm15, xmm11
    movdqa xmm1, xmm15
    paddw xmm15, xmm11
    pxor xmm2, xmm2
    pxor xmm3, xmm3
    pcmpeqd xmm4, xmm4
    pcmpeqd xmm5, xmm5
    mov eax, GOD_JULIA_STEPS
.Ljulia_step:
    god_step xmm0, xmm2, xmm4, xmm6, xmm7
    god_step xmm1, xmm3, xmm5, xmm13, xmm14
    movdqa xmm6, xmm4
    por xmm6, xmm5
    pmovmskb edx, xmm6
    test edx, edx
    jz .Ljulia_escaped
    dec eax
    jnz .Ljulia_step
.Ljulia_escaped:
    god_levels xmm2, rdi, rsi
    god_levels xmm3, rdi+16, rsi-16
    add rdi, 32
    sub rsi, 32
    dec r9d
    jnz .Ljulia_pair
    paddw xmm15, xmm12
    dec r8d
    jnz .Ljulia_row
    ret
.size god_julia, . - god_julia

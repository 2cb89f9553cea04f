# Purpose:  the stacks of the boot CPU, each above a guard page that the paging unit leaves unmapped.
# Mode:     data
# Exports:  boot_stack_bottom, boot_stack_top, ist_stack_tops, stack_guards, STACK_GUARD_COUNT entries
# Invariants: stacks and guards are whole pages; an overflow runs into the guard, whose #PF cannot be delivered on
#           the same stack, becomes #DF, and is reported from a stack of the interrupt stack table.
#
#   guard | boot stack | guard | IST 1 (#DF) | guard | IST 2 (NMI) | guard | IST 3 (#MC) | guard | IST 4 (#DB)
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "percpu.inc"

.section .bss, "aw", @nobits
    .balign 4096
.Lguard_boot:
    .skip PAGE_SIZE
object boot_stack_bottom
    .skip STACK_SIZE
end_object boot_stack_bottom
.global boot_stack_top                         # the first byte above it
boot_stack_top:
.Lguard_df:
    .skip PAGE_SIZE
    .skip IST_STACK_SIZE
.Ltop_df:
.Lguard_nmi:
    .skip PAGE_SIZE
    .skip IST_STACK_SIZE
.Ltop_nmi:
.Lguard_mc:
    .skip PAGE_SIZE
    .skip IST_STACK_SIZE
.Ltop_mc:
.Lguard_db:
    .skip PAGE_SIZE
    .skip IST_STACK_SIZE
.Ltop_db:

.section .rodata, "a"
    .balign 8
# ist_stack_tops: first byte above each stack, IST 1 first
object ist_stack_tops
    .quad .Ltop_df, .Ltop_nmi, .Ltop_mc, .Ltop_db
end_object ist_stack_tops

# stack_guards: addresses of the guard pages, ended by 0
object stack_guards
    .quad .Lguard_boot, .Lguard_df, .Lguard_nmi, .Lguard_mc, .Lguard_db
    .quad 0
end_object stack_guards

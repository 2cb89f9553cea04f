"""The models hold for the kernel, and each notices bugs that people make in the routines that it answers for."""

from __future__ import annotations

import random

import pytest

from architect import contracts
from architect.contracts import frames, heap, spaces
from architect.contracts.model import Broken
from architect.contracts.paging import sequence
from tests.contract import machine_bugs, platform_bugs, sched_bugs, session_bugs, user_bugs
from tests.contract.planting import Plant, build, kernel, plant, sources
from tests.contract.step_bugs import STEPS
from toolchain.harness import Harness

pytestmark = pytest.mark.long

BUGS: dict[str, tuple[Plant, ...]] = {
    **platform_bugs.BUGS, **machine_bugs.BUGS, **sched_bugs.BUGS, **session_bugs.BUGS,
    **user_bugs.BUGS,
    "acpi_tables": (
        plant("bus/acpi.s", "acpi_map_table", ("call acpi_sum jc .Lmap_table_malformed", "clc")),
        plant("bus/acpi.s", "acpi_map_table", ("cmp esi, ACPI_HEADER_SIZE", "cmp esi, 0")),
        plant("bus/acpi.s", "acpi_entry", ("rbx * ACPI_XSDT_ENTRY_SIZE", "rbx * ACPI_RSDT_ENTRY_SIZE")),
    ),
    "acpi_root": (
        plant("bus/acpi.s", "acpi_check_rsdp", ("call acpi_sum jc .Lcheck_rsdp_leave", "call acpi_sum")),
        plant("bus/acpi.s", "acpi_open_root", ("cmp [rax + ACPI_SIGNATURE], ecx jne .Lroot_wrong", "")),
        plant("bus/acpi.s", "acpi_search", ("add rax, RSDP_STEP", "add rax, 8")),
    ),
    "command_line": (
        plant("boot/cmdline.s", "cmdline_find", ("CHAR_BLANK je .Lfind_return", "CHAR_BLANK\n jmp .Lfind_return")),
        plant("boot/cmdline.s", "cmdline_append", ("cmp rcx, CMDLINE_SIZE - 1", "cmp rcx, CMDLINE_SIZE")),
    ),
    "command_line_value": (
        plant("boot/cmdline.s", "cmdline_value", ("cmp byte ptr [rax + rdx], CHAR_BLANK je .Lvalue_return", "")),
        plant("boot/cmdline.s", "cmdline_find", ("cmp byte ptr [rsi], 0 stc", "cmp byte ptr [rsi], 0")),
        plant("boot/cmdline.s", "cmdline_find", ("cmp al, CHAR_BLANK je .Lfind_word inc rsi", "inc rsi")),
        plant("boot/cmdline.s", "cmdline_value", ("inc rdx", "add rdx, 2")),
    ),
    "console": (
        plant("dev/console.s", "console_draw", ("mov ebx, GLYPH_LEFTMOST", "mov ebx, 0xff")),
        plant("dev/console.s", "console_draw", ("cmp ecx, 3 je .Ldraw_24", "")),
        plant("dev/console.s", "console_clear", ("je .Lclear_24", "")),
        plant("dev/console.s", "console_set", ("mov byte ptr [rcx + rax], dl", "")),
        plant("dev/console.s", "console_put_char", ("jb .Lput_glyph", "jmp .Lput_glyph")),
        plant("dev/console.s", "console_scroll", ("lea eax, [rbx + 1]", "lea eax, [rbx + 2]")),
        plant("dev/console.s", "console_sequence_char", ("cmovb eax, ecx", "")),
        plant("dev/console.s", "console_sequence_char", ("cmp edi, 'K' je console_erase", "")),
        plant(
            "dev/console.s", "console_start",
            ("jc .Lstart_return mov dword ptr [rip + console_rows]", "mov dword ptr [rip + console_rows]"),
        ),
    ),
    "words": (
        plant("shell/words.s", "words_split", ("cmp rax, SHELL_WORDS_MAX", "cmp rax, SHELL_WORDS_MAX + 1")),
        plant("shell/words.s", "words_number", ("mul r8 jc .Lnumber_none", "mul r8")),
        plant("shell/words.s", "words_number", ("cmp ecx, r8d jae .Lnumber_none", "")),
        plant("shell/words.s", "words_same", ("test al, al jnz .Lsame_next", "")),
        plant("shell/words.s", "words_nth", ("cmp rax, rdx cmc", "cmp rdx, rax")),
        plant("shell/words.s", "words_find", ("jnc .Lfind_return", "jc .Lfind_return")),
        plant("shell/words.s", "words_find", ("jae .Lfind_none", "ja .Lfind_none")),
    ),
    "editor": (
        plant("shell/line.s", "line_insert", ("SHELL_LINE_SIZE - 1", "SHELL_LINE_SIZE")),
        plant("shell/line.s", "line_insert", ("jne line_redraw", "")),
        plant("shell/line.s", "line_cut", ("jbe .Lcut_next", "jb .Lcut_next")),
        plant("shell/keys.s", "line_key", ("test dl, dl jnz .Lkey_nothing", "")),
        plant("shell/keys.s", "line_sequence_key", ("cmp edi, CHAR_BLANK jae .Lsequence_nothing", "")),
        plant("shell/line.s", "line_redraw", ("sub rbx, qword ptr [rip + line_cursor] jz", "jz")),
        plant("shell/history.s", "history_row", ("and eax, HISTORY_MASK", "and eax, 7")),
        plant("shell/history.s", "history_add", ("call words_same jnc .Ladd_return", "call words_same")),
        plant("shell/history.s", "line_earlier", ("cmp rcx, SHELL_HISTORY_LINES jae line_bell", "")),
        plant("shell/history.s", "line_later", ("jz .Llater_load", "")),
    ),
    "completion": (
        plant("shell/complete.s", "offer_count_one", ("cmp al, byte ptr [rdx + rcx] jne .Lcount_set", "")),
        plant("shell/complete.s", "offer_insert", ("cmp qword ptr [rip + offer_count], 1 jne .Linsert_return", "")),
        plant("shell/complete.s", "offer_choose", ("jne .Lchoose_nobody", "je .Lchoose_nobody")),
    ),
    "output": (
        plant("shell/out.s", "out_quoted", ("cmp r12d, '\\\\' jne .Lquoted_put", "jmp .Lquoted_put")),
        plant("shell/out.s", "out_quoted", ("ja .Lquoted_code", "")),
        plant("shell/out.s", "out_row_end", ("mov byte ptr [rip + out_follows], 1", "")),
        plant("shell/out.s", "out_list", ("mov byte ptr [rip + out_follows], 0", "")),
        plant("shell/out.s", "out_digit", ("add edi, 'a' - '9' - 1", "add edi, 'a' - '9'")),
    ),
    "firmware_config": (
        plant("dev/fw_cfg.s", "fw_cfg_find", ("bswap edx", "")),
        plant("dev/fw_cfg.s", "fw_cfg_find", ("ja .Lfind_absent", "")),
    ),
    "config_ports": (plant("bus/config.s", "pci_port_select", ("shl eax, PCI_PORT_BDF_SHIFT", "shl eax, 11")),),
    "config_ecam": (
        plant("bus/config.s", "ecam_address", ("shl rax, ECAM_FUNCTION_SHIFT", "shl rax, 15")),
        plant("bus/config.s", "ecam_map_bus", ("mov edx, PTE_CACHE_UC", "xor edx, edx")),
        plant("bus/config.s", "ecam_map_bus", ("shl rdi, ECAM_BUS_SHIFT", "shl rdi, 15")),
    ),
    "capabilities": (plant("bus/pci_scan.s", "pci_find_capability", ("dec ecx", "test ecx, ecx")),),
    "descriptor_tables": (
        plant("cpu/gdt.s", "gdt_load", ("mov word ptr [rsp], GDT_SIZE - 1", "mov word ptr [rsp], GDT_SIZE")),
        plant("cpu/gdt.s", "gdt_load", ("TSS_DESCRIPTOR_TYPE + TSS_SIZE - 1", "TSS_DESCRIPTOR_TYPE + 0x20")),
        plant("cpu/gdt.s", "", ("0x00cf92000000ffff", "0x004f92000000ffff")),
        plant("cpu/idt.s", "idt_fill", ("VECTOR_DF * GATE_SIZE + GATE_IST", "VECTOR_GP * GATE_SIZE + GATE_IST")),
        plant("cpu/idt.s", "", ("VECTOR_COUNT * GATE_SIZE - 1", "VECTOR_COUNT * GATE_SIZE")),
    ),
    "traps": (
        plant("cpu/idt.s", "", ("0x60227d00", "0x60227c00")),  # #DF without an error code
        plant("cpu/idt.s", "interrupt_enter", ("pop_registers add rsp, 16", "pop_registers \n add rsp, 8")),
        plant("cpu/idt.s", "interrupt_enter", ("cld", "")),
        plant("include/macros.inc", "", ("pop r8 pop rbp", "pop rbp \n    pop r8")),
    ),
    "fault_paths": (
        plant("cpu/fault.s", "fault_dispatch", ("fault_probe_failed]", "fault_probe_load]")),
        plant("cpu/fault.s", "fault_dispatch", ("jne .Ldispatch_nested", "")),
        plant("cpu/fault.s", "fault_dispatch", ("add qword ptr gs:[PERCPU_TSS + TSS_IST2], NMI_PART", "")),
        plant("cpu/fault.s", "fault_nested", ("je fault_panic", "")),
        plant("cpu/fault.s", "fault_nested", ("xchg rdx, qword ptr gs:[PERCPU_REPORT]", "mov rdx, gs:[PERCPU_REPORT]")),
        plant("cpu/fault.s", "fault_restore_gs", ("wrmsr", "")),
    ),
    "caught_faults": (plant("cpu/fault.s", "fault_catch", ("gs:[CAUGHT_ERROR]", "gs:[CAUGHT_RIP]")),),
    "display_device": (
        plant("gpu/gpu.s", "gpu_init", ("PCI_COMMAND_MEMORY | PCI_COMMAND_IO", "PCI_COMMAND_IO")),
        plant("gpu/gpu.s", "gpu_has_framebuffer", ("jne .Lframebuffer_not", "")),
    ),
    "display_mode": (
        plant("gpu/dispi.s", "", ("DISPI_ENABLED | DISPI_LINEAR | DISPI_KEEP_MEMORY", "DISPI_ENABLED | DISPI_LINEAR")),
        plant("gpu/dispi.s", "", (".short DISPI_ENABLE, DISPI_DISABLED", "")),
        plant("gpu/dispi.s", "dispi_write", ("mov [rdx + rdi * 2", "mov [rdx + rdi")),
    ),
    "mailbox": (
        plant(
            "gpu/mailbox.s", "mailbox_setup",
            ("mov dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY", ""),
            ("mov dword ptr [rdi + MAILBOX_RESP], 0", "mov dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY \n"
             " mov dword ptr [rdi + MAILBOX_RESP], 0"),
        ),
        plant("gpu/mailbox.s", "mailbox_setup", ("[rdi + MAILBOX_RESP]", "[rdi + MAILBOX_RESP + 1]")),
    ),
    "mailbox_unit": (plant("gpu/mailbox.s", "mailbox_init", ("call mailbox_check jc", "call mailbox_check \n jz")),),
    "picture_unit": (
        plant("dev/framebuffer.s", "framebuffer_from_dispi", ("jb .Lfrom_dispi_none", "")),
        plant("dev/framebuffer.s", "framebuffer_note_mode", ("FRAMEBUFFER_PITCH", "FRAMEBUFFER_BITS")),
    ),
    "pci_access": (
        plant("bus/pci.s", "pci_find_ecam", ("jne .Lecam_next", "")),
        plant("bus/pci.s", "pci_try_ecam", ("je .Ltry_leave", "jmp .Ltry_leave")),
    ),
    "after_ready": (plant("boot/main.s", "boot_main", ("mov edi, DEBUG_EXIT_TESTS_FAILED", "")),),
    "loader_entry": (
        plant("boot/entry32.s", "boot_start", ("EFER_LME | EFER_NXE", "EFER_LME")),
        plant("boot/entry32.s", "boot_start", ("boot_pml4 - VIRTUAL_BASE", "boot_pml4 - VIRTUAL_BASE + 0x1000")),
        plant("boot/entry32.s", "boot_start", ("CR0_WP | ", "")),
        plant("boot/entry32.s", "boot_enter_multiboot2", ("mov dword ptr [boot_handover_info], ebx", "xor ebx, ebx")),
        plant("boot/tables32.s", "boot_make_tables", ("DIRECT_PML4_INDEX * TABLE_BYTES", "2 * TABLE_BYTES")),
    ),
    "entry_checks": (
        plant("boot/check32.s", "boot_check_cpu", ("test edx, CPUID_EXT_EDX_NX", "test edx, CPUID_EXT_EDX_LM")),
        plant("boot/check32.s", "boot_check_handover", ("jne boot_fail", "")),
    ),
    "cpu_features": (
        plant("cpu/features.s", "features_enable", ("or esi, CR4_SMEP", "or esi, CR4_SMAP")),
        plant("cpu/features.s", "features_enable", ("mov cr3, rax", "")),
        plant("cpu/features.s", "features_enable", ("jb .Lenable_set", "")),
    ),
    "local_apic": (
        plant("cpu/lapic.s", "lapic_set_vectors", ("mov esi, LAPIC_DELIVERY_NMI", "mov esi, 0x10400")),
        plant("cpu/lapic.s", "lapic_write", ("shr ecx, LAPIC_MSR_SHIFT", "")),
    ),
    "frame_allocator": (
        plant("mm/frame_buddy.s", "frame_give", ("cmp eax, ecx jne .Lgive_not_in_use", "")),
        plant("mm/frame_buddy.s", "frame_give", ("mov [rax], cl", "")),
        plant("mm/frame_buddy.s", "frame_take", ("test eax, eax jz .Ltake_carve", "jz .Ltake_carve")),
        plant("mm/frame_buddy.s", "frame_buddy_free", ("jb .Lbuddy_leave add rdx, rdi", "add rdx, rdi")),
        plant("mm/frame_buddy.s", "frame_is_within_free", ("cmp eax, esi", "cmp esi, eax")),
        plant("mm/frame_block.s", "frame_list_take", ("cmp [r8 + rdx + LINK_PREVIOUS], rdi jne .Ltake_damaged", "")),
        plant("mm/frame_block.s", "frame_list_take", ("btr dword ptr [rdx + rcx * 4], esi", "")),
        plant("mm/frame_carve.s", "frame_carve", ("add [rbx + REGION_NEXT], rax", "")),
        plant("mm/frame_carve.s", "frame_carve_states", ("rep stosb", "")),
    ),
    "frame_blocks": (
        plant("mm/frame_block.s", "frame_state_find", ("cmp rdi, [rax + REGION_NEXT] jae .Lstate_none", "")),
        plant("mm/frame_buddy.s", "frame_open_chunk", ("mov ecx, FRAMES_PER_CHUNK / 8", "mov ecx, 8")),
        plant("mm/frame_buddy.s", "frame_trim", ("sub rdx, rax", "")),
        plant("mm/frame.s", "frame_free_span", ("btr rdx, rsi", "xor edx, edx")),
        plant("mm/frame.s", "frame_alloc_span", ("bsr rdi, rax inc edi", "bsr rdi, rax")),
        plant("mm/frame_block.s", "frame_state_at", ("jae .Lat_chunk", "ja .Lat_chunk")),
    ),
    "kernel_heap": (
        plant("mm/heap.s", "heap_alloc", ("mov [rax + rdi], rdx", "")),
        plant("mm/heap.s", "heap_alloc", ("test rax, rsi jnz .Lheap_invalid", "")),
        plant("mm/heap.s", "heap_take_large", ("cmova rbx, rsi", "")),
        plant("mm/heap.s", "heap_give_large", ("call frame_free_span", "")),
        plant("mm/heap.s", "heap_free", ("cmp [rax + LARGE_BLOCK], rdi jne .Lheap_free_invalid", "")),
        plant("mm/heap_slab.s", "heap_take_slot", ("cmovb rcx, rsi", "")),
        plant("mm/heap_slab.s", "heap_take_slot", ("call slab_unlink", "")),
        plant("mm/heap_slab.s", "slab_make", ("not rax", "")),
        plant("mm/heap_slab.s", "heap_give_slot", ("jc .Lgive_slot_double", "")),
        plant("mm/heap_slab.s", "heap_give_slot", ("call heap_canary_check jc .Lgive_slot_overrun", "")),
        plant("mm/heap_slab.s", "slab_drop_empty", ("call slab_unlink", "")),
        plant("mm/heap_slab.s", "", ("384, 125", "384, 126")),
    ),
    "address_spaces": (
        plant("mm/page_span.s", "page_unmap_range", ("call tlb_flush", "")),
        plant("mm/page_span.s", "page_unmap_range", ("call page_prune_range", "")),
        plant("mm/page_span.s", "page_release_range", ("mov qword ptr [rax], 0", "")),
        plant("mm/page_span.s", "page_span_prepare", ("add rdi, rsi", "")),
        plant("mm/page_span.s", "page_protect_range", ("mov rdi, [rbp - 0x18]", "")),
        plant("mm/page_change.s", "page_protect", ("PTE_NOTED | PTE_OWNED", "PTE_NOTED")),
        plant("mm/page_place.s", "page_map_whole", ("call page_undo_range", "")),
        plant("mm/page_place.s", "page_undo_range", ("add rdi, rsi", "")),
        plant("mm/page_place.s", "page_map_whole", ("jc .Lwhole_leave call page_map_range", "call page_map_range")),
        plant("mm/page_merge.s", "page_is_uniform", ("cmp r10, r9", "cmp r10, r10")),
        plant("mm/page_merge.s", "page_is_uniform", ("add r9, rsi", "add r9, rcx")),
        plant("mm/page_merge.s", "page_replace_table", ("btr r12, PTE_PAT_BIT", "clc")),
        plant("mm/page_merge.s", "page_replace_table", ("call frame_free", "")),
        plant("mm/page_merge.s", "page_prune_table", ("mov qword ptr [rax], 0", "")),
        plant("mm/tlb.s", "tlb_flush_here", ("mov cr4, rax", "")),
        plant("mm/space_map.s", "space_range_check", ("test r8d, PTE_WRITE", "test r8d, 0")),
        plant("mm/space_map.s", "user_range_check", ("jc .Luser_invalid", "")),
        plant("mm/address_space.s", "space_free_table", ("call page_free_owned", "")),
        plant("mm/address_space.s", "space_destroy", ("mov ecx, DIRECT_PML4_INDEX", "mov ecx, 2")),
    ),
    "shared_kernel": (
        plant("mm/address_space.s", "space_share_entry", ("mov rdx, [rdx + SPACE_NEXT]", "xor edx, edx")),
        plant("mm/address_space.s", "space_share_entry", ("jz .Lshare_all", "")),
        plant("mm/address_space.s", "space_create", ("mov ecx, SHARED_ENTRIES", "mov ecx, 1")),
        plant("mm/address_space.s", "space_switch", ("lock btr qword ptr [rdx + SPACE_CPUS], rcx", "")),
        plant("mm/address_space.s", "space_destroy", ("jne .Ldestroy_busy", "")),
        plant("mm/address_space.s", "space_destroy", ("cmovz rcx, rdx", "")),
    ),
    "shoot_down": (
        plant("mm/tlb.s", "tlb_flush", ("and rdx, [rax + SPACE_CPUS]", "")),
        plant("mm/tlb.s", "tlb_flush", ("btr rdx, rcx", "")),
        plant("mm/tlb.s", "tlb_shoot", ("mov [rbx + TLB_LENGTH], rsi", "")),
        plant("mm/tlb.s", "tlb_shoot", ("mov edi, [rdi + rcx * 4]", "mov edi, ecx")),
        plant("mm/tlb.s", "tlb_shoot", ("lock or [rip + tlb_late], rdx", "")),
        plant("mm/tlb.s", "tlb_shoot", ("inc qword ptr [rbx + TLB_NUMBER]", "")),
        plant("mm/tlb.s", "tlb_wait", ("jne .Lwait_next", "")),
    ),
    "answers": (
        plant("mm/tlb.s", "tlb_answer", ("call tlb_flush_here mov", "mov")),
        plant("mm/tlb.s", "tlb_answer", ("mov rsi, -1", "mov esi, PAGE_SIZE")),
        plant("mm/tlb.s", "tlb_leave", ("call tlb_answer", "")),
    ),
    "joins": (
        plant("mm/tlb.s", "tlb_join", ("jne .Ljoin_installed", "")),
        plant("mm/tlb.s", "tlb_join", ("mov eax, gs:[PERCPU_APIC_ID]", "mov eax, ebx")),
        plant("mm/tlb.s", "tlb_join", ("call tlb_flush_here", "")),
    ),
    "memory_locks": (
        plant("mm/lock.s", "mm_lock_enter", ("call tlb_answer", "")),
        plant("mm/lock.s", "mm_lock_enter", ("je .Lenter_held", "jne .Lenter_held")),
        plant("mm/lock.s", "mm_lock_leave", ("or [rsp], rsi", "")),
    ),
    "user_range_alone": (
        plant("mm/space_map.s", "user_range_check", ("jc .Luser_invalid", "")),
        plant("mm/space_map.s", "user_range_check", ("mov rcx, USER_FIRST", "xor ecx, ecx")),
    ),
    "user_copies": (
        plant("mm/user_copy.s", "copy_to_user", ("jc .Lcopy_to_leave", "")),
        plant("mm/user_copy.s", "user_copy", ("add [rsp + COPY_FROM], r12", "")),
        plant("mm/user_copy.s", "user_copy", ("setc al", "mov al, 0")),
    ),
    "guarded_stacks": (
        plant("mm/stack.s", "stack_alloc", ("sub rdi, rbx", "")),
        plant("mm/stack.s", "stack_free", ("btr qword ptr [rip + stack_slots], rdx", "")),
        plant("mm/stack.s", "stack_free", ("jc .Lstack_free_unlock", "")),
        plant("mm/stack.s", "stack_alloc", ("jae .Lstack_invalid", "ja .Lstack_invalid")),
    ),
    "multiboot2": (
        plant("boot/multiboot2.s", "multiboot2_read", ("and rbx, -TAG_ALIGN", "")),
        plant("boot/multiboot2.s", "multiboot2_read", ("cmp r14, TAG_CONTENT jb .Lread_malformed", "")),
        plant("boot/multiboot2.s", "tag_read_memory", ("add r10, r8", "add r10, 24")),
    ),
    "pvh": (plant("boot/pvh.s", "pvh_read_memory", ("add r9, PVH_MEMORY_SIZE", "add r9, 20")),),
    "memory_entries": (
        plant("boot/bootinfo.s", "bootinfo_add_memory", ("jae .Ladd_memory_full", "ja .Ladd_memory_full")),
    ),
    "handover": (plant("boot/bootinfo.s", "bootinfo_init", ("mov eax, BOOT_RESULT_FAIL", "mov eax, BOOT_RESULT_OK")),),
    "ranges_of_pages": (
        plant("mm/page_range.s", "page_choose_level", ("or rbx, rsi", "")),
        plant("mm/page_range.s", "page_map_range", ("test edx, PAGE_MASK jnz .Lrange_invalid", "")),
    ),
    "device_memory": (
        plant("mm/mmio.s", "mmio_map", ("jb .Lmmio_page", "ja .Lmmio_page")),
        plant("mm/mmio.s", "mmio_map", ("PTE_WRITE | PTE_NX | PTE_GLOBAL", "PTE_WRITE | PTE_GLOBAL")),
        plant("mm/mmio.s", "mmio_check", ("jnc .Lmmio_check_invalid", "")),
        plant("mm/mmio.s", "mmio_is_same", ("cmp rbx, rcx je .Lsame_leave", "jmp .Lsame_leave")),
    ),
    "firmware_memory": (plant("mm/page_range.s", "page_cover", ("PAGE_KERNEL_RODATA", "PAGE_KERNEL_DATA")),),
    "guard_pages": (plant("mm/space.s", "page_guard", ("call page_unmap jc .Lguard_leave", "")),),
    "mailbox_page": (plant("gpu/gpu.s", "gpu_map_bar0", ("PTE_GLOBAL | PTE_CACHE_UC", "PTE_GLOBAL")),),
    "memory_map": (
        plant("mm/ranges.s", "ranges_remove", ("[rax + RANGE_SIZE + RANGE_END]", "[rax + RANGE_SIZE + RANGE_SHIFT]")),
        plant("mm/memory.s", "memory_add_type", ("add rsi, PAGE_MASK", "")),
        plant("mm/memory.s", "memory_subtract_taken", ("mov edx, FRAME_FLOOR", "mov edx, PAGE_SIZE")),
    ),
    "page_tables": (
        plant("mm/page.s", "page_map", ("mov [rax], rdx", "")),
        plant("mm/page.s", "page_walk", ("and eax, TABLE_INDEX_MASK", "and eax, 0xff")),
        plant("mm/page.s", "page_descend", ("or [rbx], r8", "")),
        plant("mm/page_change.s", "page_unmap", ("invlpg [rdi]", "")),
        plant("mm/page_change.s", "page_protect", ("mov [rax], rdx invlpg [rdi]", "invlpg [rdi] \n mov [rax], rdx")),
    ),
    "bar_sizes": (
        plant("bus/pci_bar.s", "pci_size_bar", ("and r13d, ~PCI_BAR_MEMORY_FLAGS", "")),
        plant("bus/pci_bar.s", "pci_size_bar", ("or r13, rdx", "")),
        plant("bus/pci_bar.s", "pci_size_bars", ("and edx, ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)", "")),
    ),
    "bus_numbers": (
        plant("bus/pci_bridge.s", "pci_is_numbered", ("jae .Lnumbered_not", "ja .Lnumbered_not")),
        plant("bus/pci_bridge.s", "pci_write_numbers", ("and edx, PCI_LATENCY_MASK", "xor edx, edx")),
    ),
    "full_table": (
        plant("bus/pci_scan.s", "pci_add_function", ("jae .Ladd_full", "ja .Ladd_full")),
        plant("bus/pci_scan.s", "pci_add_function", ("inc dword ptr [rip + pci_lost]", "")),
    ),
    "given_windows": (
        plant("bus/pci_bridge.s", "pci_read_bridge", ("shl esi, 8", "shl esi, 4")),
        plant("bus/pci_bridge.s", "pci_read_prefetch_window", ("or rax, r12", "")),
        plant("bus/pci_bridge.s", "pci_write_windows", ("jne .Lwindows_pass", "")),
    ),
    "bar_addresses": (
        plant("bus/pci_bar.s", "pci_write_bar", ("jz .Lwrite_bar_restore", "jmp .Lwrite_bar_restore")),
        plant("bus/pci_place.s", "pci_find_below", ("and rsi, rax", "")),
        plant("bus/pci_bridge.s", "pci_write_windows", ("PCI_COMMAND_IO | PCI_COMMAND_MEMORY", "PCI_COMMAND_IO")),
    ),
    "boot_picture": (
        plant("dev/picture.s", "picture_draw", ("sfence", "")),
        plant("dev/picture.s", "picture_copy_row", ("shr ecx, 3", "shr ecx, 2")),
        plant("dev/picture.s", "picture_sum_row", ("jbe .Lsum_pixel", "jb .Lsum_pixel")),
    ),
    "loaders_framebuffer": (
        plant("dev/framebuffer.s", "framebuffer_from_loader", ("cmp eax, [rsi + FRAMEBUFFER_PITCH]", "stc")),
        plant("dev/framebuffer.s", "framebuffer_skip_mailbox", ("add rdi, MAILBOX_SIZE", "")),
        plant("dev/framebuffer.s", "framebuffer_map", ("PTE_CACHE_WC", "PTE_CACHE_UC")),
    ),
    "range_sets": (plant("mm/ranges.s", "ranges_add", ("cmovb rsi, rbx", "cmova rsi, rbx")),),
    "fault_blocks": (
        plant("cpu/fault_report.s", "print_trace", ("FRAME_RBP", "FRAME_RSP")),
        plant("cpu/fault_report.s", "print_name", ("rax * NAME_SIZE", "rax * 2")),
    ),
    "address_space": (
        plant("mm/space.s", "space_enter", ("and rax, ~CR4_PGE", "")),
        plant("mm/space.s", "space_enter", ("or rax, CR0_WP", "")),
        plant("mm/space.s", "", ("__text_start, __text_end, PAGE_KERNEL_TEXT", "__text_start, __text_end, PTE_WRITE")),
        plant("mm/space.s", "space_map_ram", ("mov rcx, PAGE_KERNEL_RODATA", "mov rcx, PAGE_KERNEL_DATA")),
    ),
    "serial_text": (
        plant("dev/serial.s", "serial_init", ("mov al, UART_DIVISOR_115200", "mov al, 12")),
        plant("dev/serial.s", "", (".set UART_FIFO_DEPTH, 16", ".set UART_FIFO_DEPTH, 64")),
        plant("dev/serial.s", "serial_line_end", ("mov dword ptr [rip + serial_owner], 0", "")),
    ),
    "ways_out": (plant("dev/debug_exit.s", "debug_exit_fault", ("out dx, al", "")),),
    "boot_units": (
        plant("boot/units.s", "boot_run_units", ("jnz .Lunits_advance", "jz .Lunits_advance")),
        plant("boot/units.s", "boot_run_units", ("bts r13, r12", "")),
    ),
    "notes": (plant("boot/units.s", "unit_note_store", ("cmp rax, NOTE_MAX", "cmp rax, NOTE_MAX + 1")),),
}  # fmt: skip
PLANTED = [(name, number, bug) for name, bugs in BUGS.items() for number, bug in enumerate(bugs)]


def test_the_kernel_keeps_every_promise() -> None:
    assert contracts.violations(kernel(), contracts.routines(sources())) == []


def test_every_model_has_a_bug_to_notice() -> None:
    assert set(BUGS) | set(STEPS) == set(contracts.registry())


def test_every_model_applies_to_this_kernel() -> None:
    harness = Harness(kernel())
    missing = {n: [s for s in c.needs if not harness.has(s)] for n, c in contracts.registry().items()}
    assert {name: symbols for name, symbols in missing.items() if symbols} == {}


@pytest.mark.parametrize(("name", "number", "bug"), PLANTED, ids=[f"{name}-{n}" for name, n, _ in PLANTED])
def test_a_bug_is_noticed(name: str, number: int, bug: Plant) -> None:
    found = contracts.registry()[name].violations(Harness(build(bug)))
    assert found
    # Whoever repairs it is led to code that the model answers for.
    assert found[0].routine in contracts.routines(sources())
    assert all(isinstance(value, int | str) for value in found[0].call.values())


def test_a_changed_routine_calls_for_its_models() -> None:
    headers = contracts.routines(sources())
    for name, contract in contracts.registry().items():
        for routine in contract.judges:
            assert name in {c.name for c in contracts.concerned(headers, [routine])}
    assert [c.name for c in contracts.concerned(headers, ["no_such_routine"])] == []


def test_a_routine_that_no_model_knows_calls_for_those_of_its_file() -> None:
    headers = contracts.routines(sources())
    known = {routine for contract in contracts.registry().values() for routine in contract.judges}
    assert "pci_list_row" not in known  # one that is judged by nobody
    headers["new_helper"] = headers["page_map"].__class__(
        "new_helper", "", (), (), (), "long mode", headers["page_map"].file, 1
    )
    assert "page_tables" in {c.name for c in contracts.concerned(headers, ["new_helper"])}
    assert "descriptor_tables" in {c.name for c in contracts.concerned(headers, [], ["cpu/gdt.s"])}


def test_a_routine_that_is_gone_is_a_broken_promise() -> None:
    headers = contracts.routines(sources())
    headers["page_forget"] = headers["page_map"]
    assert [(v.routine, v.promise) for v in contracts.violations(kernel(), headers, ["page_forget"])] == [
        ("page_forget", "is gone")
    ]


def test_a_model_that_is_led_astray_says_so() -> None:
    """What a kernel leaves may have no form that a model knows: that is a broken promise, not an error of ours."""
    image = build(plant("gpu/gpu.s", "gpu_init", ("call gpu_map_bar0", "clc")))
    assert contracts.registry()["display_device"].violations(Harness(image))
    image = build(plant("bus/pci_scan.s", "pci_row", ("shl rax, PCI_ROW_SHIFT", "shl rax, 40")))
    for name in ("bar_sizes", "bus_numbers", "bar_addresses", "given_windows"):
        assert contracts.registry()[name].violations(Harness(image)), name


def test_random_sequences_of_page_operations() -> None:
    harness = Harness(kernel())
    for seed in range(40):
        harness.renew()
        sequence(harness, seed, 40)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_random_sequences() -> None:
    harness = Harness(kernel())
    for seed in range(10_000):
        harness.renew()
        sequence(harness, seed, random.Random(seed).randint(10, 60))


def test_random_sequences_of_frames() -> None:
    harness = Harness(kernel())
    for seed in range(6):
        harness.renew()
        frames.sequence(harness, seed, 60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousands_of_operations_on_frames() -> None:
    harness = Harness(kernel())
    for seed in range(200):
        harness.renew()
        frames.sequence(harness, seed, 200)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousands_of_operations_on_the_heap() -> None:
    harness = Harness(kernel())
    for seed in range(40):
        harness.renew()
        heap.sequence(harness, seed, 500)


def test_random_sequences_of_spaces() -> None:
    harness = Harness(kernel())
    for seed in range(4):
        harness.renew()
        spaces.sequence(harness, seed, 40)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ten_thousand_operations_on_spaces() -> None:
    harness = Harness(kernel())
    for seed in range(200):
        harness.renew()
        spaces.sequence(harness, seed, 50)


def test_random_sequences_notice_a_bug() -> None:
    harness = Harness(build(plant("mm/page_change.s", "page_split", ("or rsi, PTE_PAT", ""))))
    with pytest.raises(Broken):
        for seed in range(200):
            harness.renew()
            sequence(harness, seed, 60)

"""Bugs in single routines: model -> the routine that it must name, and what breaks that routine."""

from __future__ import annotations

from tests.contract.planting import Plant, plant


def bug(file: str, routine: str, *edits: tuple[str, str]) -> tuple[str, Plant]:
    """A bug in a routine that its model names."""
    return routine, plant(file, routine, *edits)


STEPS: dict[str, tuple[tuple[str, Plant], ...]] = {
    "overlap_alone": (
        bug("mm/ranges.s", "ranges_overlap", ("add rax, RANGE_SIZE", "add rax, RANGE_SIZE + 1")),
        bug("mm/ranges.s", "ranges_overlap", ("jbe .Loverlap_next", "jb .Loverlap_next")),
    ),
    "insert_alone": (
        bug("mm/ranges.s", "ranges_insert", ("shl rcx, RANGE_SHIFT", "shl rcx, RANGE_END")),
        bug("mm/ranges.s", "ranges_insert", ("jae .Linsert_full", "ja .Linsert_full")),
    ),
    "remove_alone": (bug("mm/ranges.s", "ranges_remove", ("mov [rax + RANGE_END], rbx", "mov [rax + 4], rbx")),),
    "entry_range_alone": (
        bug("mm/memory.s", "memory_entry_range", ("[rbx + MEMORY_LENGTH]", "[rbx + MEMORY_TYPE]")),
        bug("mm/memory.s", "memory_entry_range", ("cmova rdx, rax", "")),
    ),
    "add_type_alone": (bug("mm/memory.s", "memory_add_type", ("add rsi, PAGE_MASK", "add rsi, PAGE_SIZE")),),
    "subtract_taken_alone": (
        bug("mm/memory.s", "memory_subtract_taken", ("dec r12", "")),
        bug("mm/memory.s", "memory_subtract_taken", ("cmp rcx, MEMORY_TYPE_NVS", "cmp rcx, MEMORY_TYPE_BAD")),
    ),
    "subtract_pages_alone": (
        bug("mm/memory.s", "memory_subtract_pages", ("add rdx, PAGE_MASK", "add rdx, PAGE_SIZE")),
    ),
    "regions_alone": (
        bug("mm/memory.s", "memory_make_regions", ("mov rsi, [rbx + RANGE_END]", "mov rsi, [rbx + RANGE_SIZE]")),
        bug("mm/memory.s", "memory_make_regions", ("jbe .Lregions_whole push", "push")),
    ),
    "region_alone": (
        bug("mm/memory.s", "memory_make_region", ("mov [rbx + REGION_END], rsi", "")),
        bug("mm/memory.s", "memory_make_region", ("add rdx, PAGE_MASK", "")),
        bug("mm/memory.s", "memory_make_region", ("lea rdx, [rdx + rcx + 1]", "lea rdx, [rdx + rcx]")),
    ),
    "carve_order_alone": (
        bug("mm/frame_carve.s", "frame_carve_order", ("cmova rsi, rax", "")),
        bug("mm/frame_carve.s", "frame_carve_order", ("cmova esi, eax", "")),
    ),
    "zeroed_alone": (
        bug("mm/frame.s", "frame_alloc_zeroed", ("mov ecx, PAGE_SIZE / 8", "mov ecx, PAGE_SIZE")),
        bug("mm/frame.s", "frame_alloc_zeroed", ("mov ecx, PAGE_SIZE / 8", "mov ecx, PAGE_SIZE / 16")),
        bug("mm/frame.s", "frame_alloc_zeroed", ("jc .Lzeroed_leave", "")),
    ),
    "push_alone": (
        bug("mm/frame_block.s", "frame_list_push", ("mov [r8 + rdx + LINK_PREVIOUS], rdi", "")),
        bug("mm/frame_block.s", "frame_list_push", ("mov qword ptr [r8 + rdi + LINK_PREVIOUS], 0", "")),
        bug("mm/frame_block.s", "frame_list_push", ("bts dword ptr [rdx + rcx * 4], esi", "")),
    ),
    "take_alone": (
        bug("mm/frame_block.s", "frame_list_take", ("LINK_PREVIOUS], r9 jmp .Ltake_done", "LINK_PREVIOUS], r9")),
        bug("mm/frame_block.s", "frame_list_take", ("cmp [r8 + rdx + LINK_PREVIOUS], rdi jne .Ltake_damaged", "")),
        bug("mm/frame_block.s", "frame_list_take", ("cmp [rax + LIST_HEAD], rdi jne .Ltake_damaged", "")),
        bug("mm/frame_block.s", "frame_list_take", ("dec qword ptr [rax + LIST_COUNT]", "")),
    ),
    "cut_alone": (bug("mm/frame_block.s", "frame_list_cut", ("btr dword ptr [rdx + rcx * 4], esi", "")),),
    "region_find_alone": (
        bug("mm/frame_block.s", "frame_region_find", (".Lfind_none: stc", ".Lfind_none: clc")),
        bug("mm/frame_block.s", "frame_region_find", ("lea rcx, [rsi + 1]", "mov rcx, rsi \n inc rsi \n mov rcx, rdx")),
        bug("mm/frame_block.s", "frame_region_find", ("jb .Lfind_below", "jbe .Lfind_below")),
    ),
    "choose_level_alone": (
        bug("mm/page_range.s", "page_choose_level", ("test ebx, HUGE_PAGE_MASK jnz .Lchoose_large", "")),
    ),
    "fill_table_alone": (
        bug("mm/page_range.s", "page_fill_table", ("1 << TABLE_ENTRY_SHIFT", "1 << (TABLE_ENTRY_SHIFT + 1)")),
    ),
    "check_alone": (bug("mm/page.s", "page_check", ("or rax, rsi", "")),),
    "flags_large_alone": (bug("mm/page.s", "page_flags_large", ("PTE_LARGE_PAT", "PTE_PAT")),),
    "descend_alone": (
        bug("mm/page.s", "page_descend", ("and ebx, TABLE_INDEX_MASK", "")),
        bug("mm/page.s", "page_descend", ("PTE_PRESENT | PTE_WRITE", "PTE_PRESENT")),
        bug("mm/page.s", "page_descend", ("jc .Ldescend_leave", "")),
    ),
    "drop_empty_alone": (
        bug("mm/page.s", "page_drop_empty", ("test byte ptr [rax], PTE_PRESENT", "test byte ptr [rax], PTE_WRITE")),
        bug("mm/page.s", "page_drop_empty", ("mov qword ptr [rbx], 0", "")),
    ),
    "map_image_alone": (
        bug("mm/space.s", "space_map_image", ("[rbx + SECTION_END]", "[rbx + SECTION_FIRST]")),
        bug("mm/space.s", "space_map_image", ("add rdx, PAGE_MASK", "")),
    ),
    "map_direct_alone": (bug("mm/space.s", "space_map_direct", ("sub rdx, rsi", "")),),
    "map_ram_alone": (
        bug("mm/space.s", "space_map_ram", ("mov rsi, r14", "")),
        bug("mm/space.s", "space_map_ram", ("mov rcx, PAGE_KERNEL_RODATA", "mov rcx, PAGE_KERNEL_DATA")),
    ),
    "guard_stacks_alone": (bug("mm/space.s", "space_guard_stacks", ("add rbx, 8", "add rbx, 16")),),
    "enter_alone": (
        bug("mm/space.s", "space_enter", ("and rax, ~CR4_PGE", "")),
        bug("mm/space.s", "space_enter", ("or rcx, CR4_PGE", "")),
    ),
    "count_ram_alone": (bug("mm/space.s", "space_count_ram", ("sub rax, [rdx + RANGE_FIRST]", "")),),
    "port_select_alone": (
        bug("bus/config.s", "pci_port_select", ("or eax, PCI_PORT_ENABLE", "and eax, PCI_PORT_ENABLE")),
    ),
    "ecam_address_alone": (
        bug("bus/config.s", "ecam_address", ("add rax, [rip + ecam_base]", "")),
        bug("bus/config.s", "ecam_address", ("jnc .Lecam_none", "")),
    ),
    "row_alone": (bug("bus/pci_scan.s", "pci_row", ("shl rax, PCI_ROW_SHIFT", "shl rax, PCI_SLOT_SHIFT")),),
    "devices_behind_alone": (
        bug("bus/pci_scan.s", "pci_devices_behind", ("PCI_EXPRESS_ROOT_PORT", "PCI_CAPABILITY_EXPRESS")),
        bug("bus/pci_scan.s", "pci_devices_behind", ("cmp edx, PCI_PARENT_ROOT", "cmp edx, PCI_BUS_SHIFT")),
    ),
    "add_function_alone": (
        bug("bus/pci_scan.s", "pci_add_function", ("jne .Ladd_done", "je .Ladd_done")),
        bug("bus/pci_scan.s", "pci_add_function", ("jae .Ladd_full", "ja .Ladd_full")),
        bug("bus/pci_scan.s", "pci_add_function", ("and eax, PCI_HEADER_TYPE_MASK", "")),
    ),
    "scan_functions_alone": (
        bug("bus/pci_scan.s", "pci_scan_functions", ("jb .Lfunctions_function", "jbe .Lfunctions_function")),
        bug("bus/pci_scan.s", "pci_scan_functions", ("jz .Lfunctions_next", "jnz .Lfunctions_next")),
    ),
    "scan_bus_alone": (
        bug("bus/pci_scan.s", "pci_scan_bus", ("mov ebx, eax", "mov eax, ebx")),
        bug("bus/pci_scan.s", "pci_scan_bus", ("inc r14d cmp byte", "inc r14d \n inc r14d \n cmp byte")),
    ),
    "is_numbered_alone": (bug("bus/pci_bridge.s", "pci_is_numbered", ("jb .Lnumbered_leave", "")),),
    "highest_given_alone": (bug("bus/pci_bridge.s", "pci_highest_given", ("mov edi, esi", "mov esi, edi")),),
    "follow_bridge_alone": (
        bug("bus/pci_bridge.s", "pci_follow_bridge", ("byte ptr [rbx + PCI_ROW_SUBORDINATE], 0",
        "byte ptr [rbx + 1], 0")),
        bug("bus/pci_bridge.s", "pci_follow_bridge", ("jae .Lfollow_leave", "ja .Lfollow_leave")),
    ),
    "scan_behind_alone": (bug("bus/pci_bridge.s", "pci_scan_behind", ("inc ecx", "")),),
    "write_numbers_alone": (bug("bus/pci_bridge.s", "pci_write_numbers", ("and edx, PCI_LATENCY_MASK",
    "xor edx, edx")),),
    "read_memory_window_alone": (bug("bus/pci_bridge.s", "pci_read_memory_window", ("shl eax, 16", "shl eax, 20")),),
    "read_prefetch_window_alone": (
        bug("bus/pci_bridge.s", "pci_read_prefetch_window", ("or rdx, r13", "and rdx, r13")),
        bug("bus/pci_bridge.s", "pci_read_prefetch_window", ("PCI_PREFETCH_BASE_HIGH", "PCI_PREFETCH_WINDOW")),
    ),
    "read_bridge_alone": (bug("bus/pci_bridge.s", "pci_read_bridge", ("shl esi, 8", "shl esi, 4")),),
    "set_window_alone": (bug("bus/pci_bridge.s", "pci_set_window", ("add rdx, rcx", "")),),
    "window_ends_alone": (bug("bus/pci_bridge.s", "pci_window_ends", ("- 1]", "]")),),
    "probe_register_alone": (bug("bus/pci_bar.s", "pci_probe_register", ("mov edx, ebx call", "call")),),
    "size_bar_alone": (
        bug("bus/pci_bar.s", "pci_size_bar", ("PCI_ROW_SLOTS + PCI_SLOT_BASE", "PCI_BARS_BRIDGE + PCI_SLOT_BASE")),
        bug("bus/pci_bar.s", "pci_size_bar", ("or r13d, PCI_BAR_IO_HIGH", "")),
        bug("bus/pci_bar.s", "pci_size_bar", ("jae .Lsize_bar_32", "")),
    ),
    "size_bars_alone": (
        bug("bus/pci_bar.s", "pci_size_bars", ("movzx edi, word ptr [rbx + PCI_ROW_BDF]", "xor edi, edi")),
        bug("bus/pci_bar.s", "pci_size_bars", ("ja .Lsize_leave", "jae .Lsize_leave")),
    ),
    "write_bar_alone": (
        bug("bus/pci_bar.s", "pci_write_bar", ("mov ecx, esi", "mov esi, ecx")),
        bug("bus/pci_bar.s", "pci_write_bar", ("jz .Lwrite_bar_restore", "jnz .Lwrite_bar_restore")),
    ),
    "enable_alone": (bug("bus/pci_bar.s", "pci_enable", ("movzx edx, ax", "mov edx, eax")),),
    "next_empty_alone": (
        bug("bus/pci_assign.s", "pci_next_empty", ("jae .Lempty_row", "ja .Lempty_row")),
        bug("bus/pci_assign.s", "pci_next_empty", ("jnz .Lempty_slot", "")),
    ),
    "highest_bus_alone": (bug("bus/pci_assign.s", "pci_highest_bus", ("cmova eax, edx", "cmovb eax, edx")),),
    "bridge_to_alone": (bug("bus/pci_assign.s", "pci_bridge_to", ("jne .Lbridge_to_next", "")),),
    "size_windows_alone": (bug("bus/pci_assign.s", "pci_size_windows", ("PCI_SLOT_WINDOW_IO",
    "PCI_SLOT_WINDOW_MEMORY")),),
    "size_window_alone": (
        bug("bus/pci_assign.s", "pci_size_window", ("jnc .Lsize_window_double", "")),
        bug("bus/pci_assign.s", "pci_size_window", ("jne .Lsize_window_leave", "")),
    ),
    "span_alone": (bug("bus/pci_assign.s", "pci_span", ("jnz .Lspan_done", "")),),
    "assign_alone": (
        bug("bus/pci_assign.s", "pci_assign", ("xor esi, esi call", "call")),
        bug("bus/pci_assign.s", "pci_assign", ("jbe .Lassign_place", "jb .Lassign_place")),
    ),
    "largest_empty_alone": (bug("bus/pci_place.s", "pci_largest_empty", ("jbe .Llargest_slot",
    "jb .Llargest_slot")),),
    "slot_of_alone": (bug("bus/pci_place.s", "pci_slot_of", ("dec edi", "")),),
    "commit_alone": (bug("bus/pci_place.s", "pci_commit", ("PCI_SLOT_WINDOW", "PCI_SLOT_64")),),
    "limits_alone": (
        bug("bus/pci_place.s", "pci_limits", ("jc .Llimits_none", "")),
        bug("bus/pci_place.s", "pci_limits", ("call pci_root_floor", "")),
    ),
    "root_floor_alone": (bug("bus/pci_place.s", "pci_root_floor", ("ja .Lroot_floor_done",
    "jae .Lroot_floor_done")),),
    "find_below_alone": (
        bug("bus/pci_place.s", "pci_find_below", ("jc .Lbelow_found", "jnc .Lbelow_found")),
        bug("bus/pci_place.s", "pci_find_below", ("[rax + RANGE_FIRST]", "[rax + RANGE_END]")),
    ),
    "find_above_alone": (
        bug("bus/pci_place.s", "pci_find_above", ("call ranges_overlap", "")),
        bug("bus/pci_place.s", "pci_find_above", ("r13 - 1]", "r13]")),
    ),
    "may_go_high_alone": (bug("bus/pci_place.s", "pci_may_go_high", ("jnz .Lhigh_not", "")),),
    "place_bus_alone": (
        bug("bus/pci_place.s", "pci_place_bus", ("call pci_next_empty jc .Lplace_leave", "call pci_next_empty")),
        bug("bus/pci_place.s", "pci_place_bus", ("call ranges_add", "")),
    ),
    "collect_taken_alone": (
        bug("bus/pci_taken.s", "pci_collect_taken", ("movzx edx, byte ptr [rax + rcx + PCI_ROW_FLAGS]", "")),
        bug("bus/pci_taken.s", "pci_collect_taken", ("add rdx, rsi", "")),
    ),
    "take_memory_map_alone": (
        bug("bus/pci_taken.s", "pci_take_memory_map", ("inc edx", "dec edx")),
        bug("bus/pci_taken.s", "pci_take_memory_map", ("js .Ltake_ecam", "jns .Ltake_ecam")),
    ),
    "write_windows_alone": (
        bug("bus/pci_bridge.s", "pci_write_windows", ("shr eax, 16", "shr eax, 12")),
        bug("bus/pci_bridge.s", "pci_write_windows", ("jne .Lwindows_pass", "je .Lwindows_pass")),
    ),
    "try_ecam_alone": (
        bug("bus/pci.s", "pci_try_ecam", ("mov esi, PCI_ID", "mov esi, PCI_PARENT_ROOT")),
        bug("bus/pci.s", "pci_try_ecam", ("mov qword ptr [rip + ecam_base], 0", "")),
    ),
    "find_ecam_alone": (
        bug("bus/pci.s", "pci_find_ecam", ("[rbx + MCFG_BUS_LAST]", "[rbx + MCFG_BUS_FIRST]")),
        bug("bus/pci.s", "pci_find_ecam", ("ja .Lecam_refused", "jae .Lecam_refused")),
    ),
    "percpu_alone": (
        bug("boot/enter64.s", "percpu_init", ("shr rdx, 32", "")),
        bug("boot/enter64.s", "percpu_init", ("PERCPU_STACK_TOP", "PERCPU_SELF")),
        bug("boot/enter64.s", "percpu_init", ("MSR_GS_BASE", "MSR_KERNEL_GS_BASE")),
    ),
    "kernel_enter_alone": (
        bug("boot/enter64.s", "kernel_enter", ("boot_stack_top]", "boot_stack_bottom]")),
        bug("boot/enter64.s", "kernel_enter", ("lea rsp, [rip + boot_stack_top]",
        "lea rsp, [rip + boot_stack_top - 8]")),
        bug("boot/enter64.s", "kernel_enter", ("xor ebp, ebp", "")),
    ),
    "reach_alone": (bug("boot/bootinfo.s", "bootinfo_reach", ("cmp rax, rsi jb", "cmp rax, rsi \n jbe")),),
    "add_module_alone": (
        bug("boot/bootinfo.s", "bootinfo_add_module", ("MODULE_NAME_SIZE - 1", "MODULE_NAME_SIZE + 1")),
        bug("boot/bootinfo.s", "bootinfo_add_module", ("dec rcx", "")),
    ),
    "set_rsdp_alone": (bug("boot/bootinfo.s", "bootinfo_set_rsdp", ("jbe .Lset_rsdp_return",
    "jae .Lset_rsdp_return")),),
    "tag_module_alone": (bug("boot/multiboot2.s", "tag_read_module", ("lea rcx, [rsi", "lea rcx, [rdi")),),
    "tag_memory_alone": (
        bug("boot/multiboot2.s", "tag_read_memory", ("cmp rax, r8", "cmp rax, r9")),
        bug("boot/multiboot2.s", "tag_read_memory", ("add r10, r8", "add r10, MAP_ENTRY_SIZE_MIN")),
    ),
    "tag_framebuffer_alone": (bug("boot/multiboot2.s", "tag_read_framebuffer", ("jne .Lframebuffer_done", "")),),
    "tag_rsdp_alone": (bug("boot/multiboot2.s", "tag_read_rsdp", ("jb .Lrsdp_return", "jbe .Lrsdp_return")),),
    "pvh_modules_alone": (bug("boot/pvh.s", "pvh_read_modules", ("add r9, PVH_MODULE_SIZE", "add r9, 24")),),
    "note_counts_alone": (
        bug("boot/bootinfo.s", "bootinfo_note_counts", ("jz .Lcounts_return", "jnz .Lcounts_return")),
        bug("boot/bootinfo.s", "bootinfo_note_counts", (".Lcounts_return:",
        ".Lcounts_return: \n call unit_note_dec")),
    ),
    "line_begin_alone": (bug("boot/units.s", "unit_line_begin", ("mov rdi, rsi", "")),),
    "say_needs_alone": (
        bug("boot/units.s", "unit_say_needs", ("bsf rbx, rsi", "bsr rbx, rsi")),
        bug("boot/units.s", "unit_say_needs", ("shl rbx, 5", "shl rbx, 4")),
    ),
    "say_ready_alone": (bug("boot/main.s", "boot_say_ready", ("call serial_line_end", "")),),
    "sum_alone": (bug("bus/acpi.s", "acpi_sum", ("jae .Lsum_done", "ja .Lsum_done")),),
    "check_rsdp_alone": (
        bug("bus/acpi.s", "acpi_check_rsdp", ("mov esi, RSDP_SIZE_2", "")),
        bug("bus/acpi.s", "acpi_check_rsdp", ("jc .Lcheck_rsdp_leave", "")),
    ),
    "search_alone": (
        bug("bus/acpi.s", "acpi_search", ("jnc .Lsearch_leave", "")),
        bug("bus/acpi.s", "acpi_search", ("ja .Lsearch_none", "jae .Lsearch_none")),
    ),
    "find_rsdp_alone": (bug("bus/acpi.s", "acpi_find_rsdp", ("shl edi, EBDA_SEGMENT_SHIFT", "shl edi, 3")),),
    "entry_alone": (bug("bus/acpi.s", "acpi_entry", ("rbx * ACPI_XSDT_ENTRY_SIZE", "rbx * ACPI_RSDT_ENTRY_SIZE")),),
    "map_table_alone": (
        bug("bus/acpi.s", "acpi_map_table", ("cmp esi, ACPI_HEADER_SIZE", "cmp esi, ACPI_HEADER_SIZE + 1")),
        bug("bus/acpi.s", "acpi_map_table", ("jc .Lmap_table_malformed", "")),
    ),
    "open_root_alone": (
        bug("bus/acpi.s", "acpi_open_root", ("mov r12d, ACPI_RSDT_ENTRY_SIZE", "")),
        bug("bus/acpi.s", "acpi_open_root", ("sub eax, ACPI_HEADER_SIZE", "")),
    ),
    "find_alone": (bug("bus/acpi.s", "acpi_find", ("dec esi", "")),),
    "wait_empty_alone": (
        bug("dev/serial.s", "serial_wait_empty", ("UART_STATUS_EMPTY", "UART_STATUS_EMPTY * 2")),
        bug("dev/serial.s", "serial_wait_empty", ("mov dword ptr [rip + serial_room], UART_FIFO_DEPTH", "")),
    ),
    "put_char_alone": (
        bug("dev/serial.s", "serial_put_char", ("call serial_wait_empty", "clc")),
        bug("dev/serial.s", "serial_put_char", ("dec dword ptr [rip + serial_room]", "")),
    ),
    "line_end_alone": (
        bug("dev/serial.s", "serial_line_end", ("dec dword ptr [rip + serial_depth]", "")),
        bug("dev/serial.s", "serial_line_end", ("jnz .Lline_end_return", "")),
    ),
    "line_begin_lock_alone": (bug("dev/serial.s", "serial_line_begin", ("inc ecx", "")),),
    "fw_cfg_select_alone": (bug("dev/fw_cfg.s", "fw_cfg_select", ("out dx, ax", "out dx, al")),),
    "dispi_read_alone": (
        bug("gpu/dispi.s", "dispi_read", ("mov eax, edi", "")),
        bug("gpu/dispi.s", "dispi_read", ("rdi * 2", "rdi * 4")),
    ),
    "has_framebuffer_alone": (
        bug("gpu/gpu.s", "gpu_has_framebuffer", (".Lframebuffer_not: pop rax stc",
        ".Lframebuffer_not: pop rax \n clc")),
    ),
    "gpu_find_alone": (bug("gpu/gpu.s", "gpu_find", ("cmovz r12, rax", "mov r12, rax")),),
    "skip_mailbox_alone": (bug("dev/framebuffer.s", "framebuffer_skip_mailbox", ("jb .Lskip_done", "")),),
    "sum_row_alone": (bug("dev/picture.s", "picture_sum_row", ("shl edx, 16", "")),),
    "probe_alone": (bug("cpu/fault_trace.s", "fault_probe", ("clc", "stc")),),
    "read_alone": (bug("cpu/fault_trace.s", "fault_read", ("[rbp - 8]", "[rbp - 16]")),),
    "page_mapped_alone": (
        bug("cpu/fault_trace.s", "fault_page_mapped", ("jnc .Lmapped_return", "")),
        bug("cpu/fault_trace.s", "fault_page_mapped", ("mov rdx, PTE_ADDRESS_MASK",
        "mov rdx, PTE_LARGE_ADDRESS_MASK")),
    ),
    "put_stack_alone": (bug("cpu/fault_trace.s", "fault_put_stack", ("jae .Lstack_return", "ja .Lstack_return")),),
    "put_trace_alone": (
        bug("cpu/fault_trace.s", "fault_put_trace_of", ("jbe .Ltrace_return", "jb .Ltrace_return")),
        bug("cpu/fault_trace.s", "fault_put_trace_of", ("ja .Ltrace_return", "")),
    ),
    "handover_check_alone": (bug("boot/check32.s", "boot_check_handover", ("je .Lhandover_compare",
    "jne .Lhandover_compare")),),
    "cpu_check_alone": (bug("boot/check32.s", "boot_check_cpu", ("jb boot_fail", "")),),
    "make_tables_alone": (
        bug("boot/tables32.s", "boot_make_tables", ("[edi + VIRTUAL_PDPT_INDEX", "[edi + VIRTUAL_PML4_INDEX")),
        bug("boot/tables32.s", "boot_make_tables", ("add eax, LARGE_PAGE_SIZE", "add eax, PAGE_SIZE")),
    ),
    "set_up_serial_alone": (bug("boot/check32.s", "boot_set_up_serial", ("add esi, 4", "add esi, 2")),),
    "put_string_alone": (
        bug("boot/check32.s", "boot_put_string", ("jnz .Lput_wait", "jz .Lput_wait")),
        bug("boot/check32.s", "boot_put_string", ("BOOT_SERIAL_STATUS", "BOOT_SERIAL_STATUS + 1")),
    ),
    "gdt_load_alone": (
        bug("cpu/gdt.s", "gdt_load", ("mov word ptr [rsp], GDT_SIZE - 1", "mov word ptr [rsp], GDT_SIZE")),
        bug("cpu/gdt.s", "gdt_load", ("and edx, 0xff000000", "and edx, 0xf0000000")),
        bug("cpu/gdt.s", "gdt_load", ("TSS_IST2], rax", "TSS_IST1], rax")),
    ),
    "idt_load_alone": (bug("cpu/idt.s", "idt_load", ("lidt [rip + idt_pointer]", "lidt [rip + idt_pointer + 2]")),),
    "idt_fill_alone": (
        bug("cpu/idt.s", "idt_fill", ("VECTOR_DF * GATE_SIZE", "VECTOR_GP * GATE_SIZE")),
        bug("cpu/idt.s", "idt_fill", ("add rax, STUB_SIZE", "")),
    ),
    "run_units_alone": (
        bug("boot/units.s", "boot_run_units", ("bts r13, r12", "")),
        bug("boot/units.s", "boot_run_units", ("jnz .Lunits_advance", "jz .Lunits_advance")),
        bug("boot/units.s", "boot_run_units", ("not rax", "")),
    ),
    "unit_run_alone": (
        bug("boot/units.s", "unit_run", ("cmovb r12, rax", "mov r12, rax")),
        bug("boot/units.s", "unit_run", ("mov qword ptr gs:[PERCPU_NOTE_COUNT], 0", "")),
    ),
    "frames_init_alone": (
        bug("mm/memory.s", "frames_init", ("mov rdi, MEMORY_TYPE_ACPI", "mov rdi, MEMORY_TYPE_BAD")),
        bug("mm/memory.s", "frames_init", ("jne .Lframes_leave", "je .Lframes_leave")),
    ),
    "paging_init_alone": (
        bug("mm/space.s", "paging_init", ("sub rsi, r12", "sub r12, rsi")),
        bug("mm/space.s", "paging_init", ("call space_guard_stacks jc .Lpaging_fail", "call space_guard_stacks")),
        bug("mm/space.s", "paging_init", ("mov [rip + page_root], rax", "")),
    ),
    "acpi_init_alone": (bug("bus/acpi.s", "acpi_init", ("sub rsi, rax", "")),),
    "gpu_init_alone": (
        bug("gpu/gpu.s", "gpu_init", ("[rbx + PCI_ROW_SLOTS + PCI_SLOT_BASE]",
        "[rbx + PCI_ROW_SLOTS + PCI_SLOT_SIZE]")),
        bug("gpu/gpu.s", "gpu_init", ("call gpu_map_bar0 jc .Lgpu_fail", "call gpu_map_bar0")),
    ),
    "pci_init_alone": (
        bug("bus/pci.s", "pci_init", ("mov esi, [rip + pci_lost]", "")),
        bug("bus/pci.s", "pci_init", ("lea rdi, [rip + note_access]", "lea rdi, [rip + note_lost]")),
    ),
    "from_dispi_alone": (
        bug("dev/framebuffer.s", "framebuffer_from_dispi", ("mov rax, [rip + gpu_bar0]", "")),
        bug("dev/framebuffer.s", "framebuffer_from_dispi", ("cmp rbx, 1", "clc")),
    ),
    "note_mode_alone": (bug("dev/framebuffer.s", "framebuffer_note_mode", ("FRAMEBUFFER_PITCH",
    "FRAMEBUFFER_BITS")),),
    "framebuffer_init_alone": (bug("dev/framebuffer.s", "framebuffer_init", ("jnc .Lpicture_found",
    "jc .Lpicture_found")),),
    "bootinfo_init_alone": (
        bug("boot/bootinfo.s", "bootinfo_init", ("je .Linit_pvh", "jne .Linit_pvh")),
        bug("boot/bootinfo.s", "bootinfo_init", ("jnc .Linit_sound", "jc .Linit_sound")),
    ),
    "pvh_read_alone": (
        bug("boot/pvh.s", "pvh_read", ("neg r12", "")),
        bug("boot/pvh.s", "pvh_read", ("mov esi, START_SIZE", "mov esi, START_MEMORY")),
    ),
    "give_alone": (
        bug("mm/frame_buddy.s", "frame_give", ("lea ecx, [rsi + BLOCK_FREE]", "lea ecx, [rsi + BLOCK_USED]")),
        bug("mm/frame_buddy.s", "frame_give", ("mov byte ptr [rax], 0", "")),
        bug("mm/frame_buddy.s", "frame_give", ("and r8, rax", "or r8, rax")),
        bug("mm/frame_buddy.s", "frame_give", ("inc qword ptr [rip + frame_double_frees]", "")),
    ),
    "mmio_check_alone": (
        bug("mm/mmio.s", "mmio_check", ("cmp rdi, PAGE_SIZE jb .Lmmio_check_invalid", "")),
        bug("mm/mmio.s", "mmio_check", ("shr rcx, DIRECT_SIZE_SHIFT", "shr rcx, 52")),
    ),
    "mmio_is_same_alone": (
        bug("mm/mmio.s", "mmio_is_same", ("mov eax, ERROR_EXISTS stc", "mov eax, ERROR_EXISTS")),
        bug("mm/mmio.s", "mmio_is_same", ("PTE_ACCESSED | PTE_DIRTY", "PTE_ACCESSED")),
    ),
    "ecam_open_alone": (bug("bus/config.s", "ecam_open", ("mov eax, ERROR_MALFORMED", "")),),
    "ecam_map_bus_alone": (
        bug("bus/config.s", "ecam_map_bus", ("mov edx, PTE_CACHE_UC", "mov edx, PTE_CACHE_WC")),
        bug("bus/config.s", "ecam_map_bus", ("je .Lecam_map_one", "")),
    ),
    "mailbox_check_alone": (bug("gpu/mailbox.s", "mailbox_check", ("mov eax, ERROR_INVALID", "")),),
    "lapic_high_alone": (bug("cpu/lapic.s", "lapic_enable", ("shl rdx, 32", "")),),
    "put_digits_alone": (bug("bus/pci_list.s", "pci_put_digits", ("jns .Ldigits_next", "jnz .Ldigits_next")),),
    "put_bdf_alone": (bug("bus/pci_list.s", "pci_put_bdf", ("and edi, PCI_DEVICE_MASK", "")),),
    "list_alone": (bug("bus/pci_list.s", "pci_list", ("mov rbx, rax", "")),),
    "put_item_alone": (bug("cpu/fault_trace.s", "fault_put_item", ("mov edi, ','", "")),),
    "mailbox_init_alone": (bug("gpu/mailbox.s", "mailbox_init", ("lea rdi, [rip + note_error]", "")),),
    "append_fw_cfg_alone": (bug("boot/cmdline.s", "cmdline_append_fw_cfg", ("mov ebx, edx", "")),),
    "start_alone": (
        bug("boot/entry32.s", "boot_start", ("call boot_check_handover", "")),
        bug("boot/entry32.s", "boot_start", ("boot_stack_top - VIRTUAL_BASE", "boot_stack_bottom - VIRTUAL_BASE")),
    ),
    "set_mode_alone": (
        ("dispi_set_mode", plant("gpu/dispi.s", "", ("DISPI_YRES, DISPI_MODE_HEIGHT", "DISPI_YRES, 600"))),
        ("dispi_set_mode", plant("gpu/dispi.s", "", (" | DISPI_KEEP_MEMORY", ""))),
        bug("gpu/dispi.s", "dispi_set_mode", ("jne .Lmode_refused", "je .Lmode_refused")),
    ),
    "dispi_write_alone": (("dispi_write", plant("gpu/dispi.s", "dispi_write", ("mov eax, esi", "mov esi, eax"))),),
    "heights_alone": (bug("dev/picture.s", "picture_heights", ("sub ecx, eax", "")),),
    "note_store_alone": (
        bug("boot/units.s", "unit_note_store", ("PERCPU_NOTES + NOTE_PRINTER", "PERCPU_NOTES + NOTE_KEY")),
        bug("boot/units.s", "unit_note_store", ("cmp rax, NOTE_MAX", "cmp rax, NOTE_MAX + 1")),
    ),
    "size_mask_alone": (bug("mm/page_change.s", "page_size_mask", ("mov ecx, PAGE_MASK", "mov ecx, PAGE_SIZE")),),
    "fw_cfg_read_next_alone": (bug("dev/fw_cfg.s", "fw_cfg_read_next", ("mov edx, FW_CFG_DATA_PORT", "")),),
    "enter_multiboot2_alone": (
        bug("boot/entry32.s", "boot_enter_multiboot2", ("mov dword ptr [boot_handover_magic], eax", "")),
    ),
    "enter_pvh_alone": (bug("boot/entry32.s", "boot_enter_pvh", ("mov eax, dword ptr [ebx]", "")),),
}  # fmt: skip

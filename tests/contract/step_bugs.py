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
        bug("mm/memory.s", "memory_make_regions", ("mov rdx, [rsi + RANGE_END]", "mov rdx, [rsi + RANGE_SIZE]")),
        bug("mm/memory.s", "memory_make_regions", ("mov [rdi + REGION_END], rdx", "")),
    ),
    "take_fresh_alone": (
        bug("mm/frame.s", "frame_take_fresh", ("jb .Lfresh_found", "jbe .Lfresh_found")),
        bug("mm/frame.s", "frame_take_fresh", ("jnz .Lfresh_mark", "jmp .Lfresh_mark")),
    ),
    "region_find_alone": (bug("mm/frame.s", "frame_region_find", (".Lfind_none: stc", ".Lfind_none: clc")),),
    "bit_find_alone": (bug("mm/frame.s", "frame_bit_find", ("jae .Lbit_none", "ja .Lbit_none")),),
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
}  # fmt: skip

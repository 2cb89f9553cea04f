"""Bugs in the scheduler that its models must notice."""

from __future__ import annotations

from tests.contract.planting import Plant, plant

BUGS: dict[str, tuple[Plant, ...]] = {
    "sched_queue": (
        plant("sched/queue.s", "queue_push", ("jae .Lpush_full", "ja .Lpush_full")),
        plant("sched/queue.s", "queue_push", ("jbe .Lpush_place", "jmp .Lpush_place")),
        plant("sched/queue.s", "queue_push", ("and rax, -QUEUE_ROW_SIZE", "")),
        plant("sched/queue.s", "queue_pop", ("lea r9, [rsi + rsi", "lea r9, [rsi")),
        plant("sched/queue.s", "queue_pop", ("cmp [r8 + r9 + QUEUE_ROW_KEY], r11 jae .Lpop_left", "")),
        plant("sched/queue.s", "queue_pop", ("mov [r8 + rsi + QUEUE_ROW_VALUE], r11 mov rsi, r9", "mov rsi, r9")),
    ),
    "sched_histogram": (
        plant("sched/histogram.s", "histogram_index", ("cmovb rax, rdi", "mov rax, rdi")),
        plant("sched/histogram.s", "histogram_index", ("sub ecx, HISTOGRAM_LINEAR_SHIFT", "sub ecx, 4")),
        plant("sched/histogram.s", "histogram_upper", ("dec rax", "")),
        plant("sched/histogram.s", "histogram_percentile", ("add rax, PER_MILLE - 1", "add rax, 0")),
        plant("sched/histogram.s", "histogram_percentile", ("jbe .Lpercentile_found", "jb .Lpercentile_found")),
    ),
    "sched_admission": (
        plant("sched/admit.s", "admit_share", ("add rax, rcx adc rdx, 0", "")),
        plant("sched/admit.s", "admit_share", ("cmp rdx, rsi jae .Lshare_most", "")),
        plant("sched/admit.s", "admit_total", ("cmp rcx, rax", "cmp rax, rcx")),
        plant("sched/admit.s", "admit_total", ("add rbx, rax", "")),
    ),
    "sched_snapshots": (
        plant("sched/snapshot.s", "thread_copy", ("js .Lcopy_found", "jz .Lcopy_found")),
        plant("sched/snapshot.s", "thread_copy", ("SNAPSHOT_NAME_SIZE - 1], 0", "SNAPSHOT_NAME_SIZE - 1], 1")),
        plant("sched/snapshot.s", "snapshot_percentile", ("cmova rax, [rbx + THREAD_WORST_JITTER]", "")),
        plant("sched/snapshot.s", "threads_count", ("mov rdx, [rdx + THREAD_NEXT]", "xor edx, edx")),
    ),
    "sched_median": (
        plant("sched/measure.s", "sched_median", ("cmp r8d, edx ja .Lmedian_next", "")),
        plant("sched/measure.s", "sched_median", ("shr edx, 1", "")),
    ),
    "sched_specs": (
        plant("sched/thread.s", "sched_check_times", ("cmovae rcx, [rdi + SPEC_PERIOD]", "")),
        plant("sched/thread.s", "sched_check_times", ("SCHED_THREADS_MAX jae", "SCHED_THREADS_MAX \n ja")),
        plant("sched/thread.s", "sched_check", ("jne .Lcheck_refused", "")),
    ),
    "sched_decision": (
        plant("sched/decide.s", "sched_decide", ("ja .Ldecide_choose", "jae .Ldecide_choose")),
        plant("sched/decide.s", "sched_decide", ("jae .Ldecide_return", "ja .Ldecide_return")),
        plant("sched/decide.s", "sched_decide", ("add rsi, [rdx + THREAD_WINDOW]", "")),
        plant("sched/decide.s", "sched_decide", ("cmp rsi, DEADLINE_NONE je .Ldecide_next", "")),
        plant("sched/decide.s", "sched_decide", ("xchg r12, rdx mov rsi", "mov rsi")),
    ),
    "sched_scale": (
        plant("sched/decide.s", "sched_decide", ("mov r12, rdi", "mov r12, rdi\n mov ecx, 200\n 1: dec ecx\n jnz 1b")),
    ),
    "sched_steps": (
        plant("sched/decide.s", "sched_advance", ("jbe .Ladvance_push", "jmp .Ladvance_push")),
        plant("sched/decide.s", "sched_advance", ("add [rdi + THREAD_MISSES], rax", "")),
        plant("sched/decide.s", "sched_charge", ("sub [rax + THREAD_LEFT], rcx", "")),
        plant("sched/decide.s", "sched_event", ("cmovb rax, rcx", "mov rax, rcx")),
    ),
}  # fmt: skip

"""Bugs in the mailbox client: queues and the session."""

from __future__ import annotations

from tests.contract.planting import Plant, plant

BUGS: dict[str, tuple[Plant, ...]] = {
    "mailbox_queue": (
        plant("gpu/queue.s", "queue_post", ("jne .Lpost_full", "")),
        plant("gpu/queue.s", "queue_post", ("mov qword ptr [rcx + MAILBOX_SLOT_CHECKSUM], 0", "")),
        plant("gpu/queue.s", "queue_post", ("jne .Lpost_ring", "")),
        plant("gpu/queue.s", "queue_take", ("shr r8, MAILBOX_DEPTH_SHIFT", "shr r8, 7")),
        plant("gpu/queue.s", "queue_take", ("cmp eax, MAILBOX_DEPTH jae .Ltake_stray", "")),
        plant("gpu/queue.s", "queue_take", ("and edx, MAILBOX_COMPLETION_ERROR", "")),
        plant("gpu/queue.s", "queue_fetch", ("mov dword ptr [rcx + OUTCOME_STATE], OUTCOME_FREE", "")),
        plant("gpu/queue.s", "queue_abort", ("MAILBOX_ERROR_ABORTED", "0")),
        plant("gpu/session_device.s", "session_ring", ("shr r8, SESSION_ROW_SHIFT", "")),
    ),
    "mailbox_session": (
        plant("gpu/session.s", "session_check_page", ("cmp eax, MAILBOX_QUEUES jae .Lpage_malformed", "")),
        plant("gpu/session.s", "session_check_page", ("jne .Lpage_malformed cmp dword", "cmp dword")),
        plant("gpu/session.s", "session_offer", ("and eax, SESSION_FEATURES", "")),
        plant("gpu/session.s", "session_leave", ("call queue_clear", "")),
        plant("gpu/session.s", "session_negotiate", ("jnz .Lnegotiate_refused", "")),
        plant("gpu/session.s", "session_negotiate", ("jne .Lnegotiate_more", "")),
        plant("gpu/session.s", "session_wait", ("jne .Lwait_done .Lwait_time", ".Lwait_time")),
    ),
    "mailbox_sleep": (
        plant("gpu/messages.s", "messages_rest", ("call messages_stands jnc .Lrest_awake", "call messages_stands")),
        plant("gpu/messages.s", "messages_rest", ("mov dword ptr [rbx + MAILBOX_QUEUE_WANT_INTERRUPT], 0", "")),
        plant("gpu/messages.s", "messages_rest", ("jae .Lrest_armed", "")),
        plant("gpu/messages.s", "messages_rest", ("call timer_arm", "")),
        plant("gpu/messages.s", "messages_stands", ("shr rax, MAILBOX_DEPTH_SHIFT", "shr rax, 7")),
    ),
    "mailbox_wanted": (
        plant("gpu/messages.s", "messages_wanted", ("jz .Lwanted_no lea", "lea")),
        plant("gpu/messages.s", "messages_wanted", ("cmp dword ptr gs:[PERCPU_ID], 0 jne .Lwanted_no", "")),
        plant("gpu/messages.s", "messages_wanted", ("jne .Lwanted_no cmp qword ptr [rip", "cmp qword ptr [rip")),
        plant("gpu/messages.s", "messages_wanted", ("test eax, RFLAGS_IF jz .Lwanted_no", "")),
    ),
    "mailbox_messages": (
        plant("gpu/messages.s", "messages_open", ("mov dword ptr [rip + messages_vector], VECTOR_NONE", "")),
        plant("gpu/messages.s", "messages_open", ("mov dword ptr [rip + messages_vector], eax", "")),
        plant("gpu/messages.s", "messages_open", ("add rdi, PCI_ROW_SIZE", "")),
    ),
    "mailbox_liveness": (
        plant("gpu/session.s", "session_lost", ("jnz .Llost_over", "")),
        plant("gpu/session.s", "session_lost", ("mov qword ptr [rip + session_beat_at], rax", "")),
        plant("gpu/session.s", "session_lost", ("cmp rax, LIVENESS_NS cmc", "cmp rax, LIVENESS_NS")),
    ),
}  # fmt: skip

"""Many machines at once: quotas, preemption by fuel, snapshots, moves between engines, the debugger."""

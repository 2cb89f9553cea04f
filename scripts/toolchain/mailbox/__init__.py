"""The GPU's side of the mailbox: rings in shared memory, the transport, the service."""

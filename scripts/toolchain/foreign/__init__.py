"""A kernel tree of any make: pxos.toml, its build in a sandbox, its boot and its judge."""

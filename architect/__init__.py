"""The architect: reads what a failed boot left behind, repairs the source, proves it by booting, remembers."""

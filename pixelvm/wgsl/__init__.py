"""The WGSL engine of the Pixel VM: thousands of machines at once in a compute shader."""

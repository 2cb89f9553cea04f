"""The GPU through wgpu: adapter, device, the shaders in shaders/ and their NumPy interface."""

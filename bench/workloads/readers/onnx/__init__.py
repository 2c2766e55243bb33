"""ONNX models: read as layers, run for their activations, and written."""

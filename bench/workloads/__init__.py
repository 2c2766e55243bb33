"""Real layers to measure: MNIST, the networks trained on it, and how they are pruned."""

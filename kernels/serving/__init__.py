"""Pruned networks served on a CPU by the kernels that a plan chose, with NumPy, SciPy and Numba.

::

    import crossover

    network = crossover.load("lenet-300-100.plan.safetensors")
    logits = network(images)  # (n, 784) float32 -> (n, 10)

Nothing here imports the harness. ``crossover plan`` writes such files; their layout is in
:mod:`.files`. A network may be called from several threads at a time: each has its own buffers.
"""

from .files import load
from .network import Network
from .plan import Choice, LayerPlan, Plan

__all__ = ["Choice", "LayerPlan", "Network", "Plan", "load"]

"""Kernels of a GPU that is lost on the way: ``tests.harness.gpu_fakes`` as a kernel module.

There is no GPU. Only whether it still answers is asked, and these kernels decide that.
"""

from __future__ import annotations

from typing import Any

from crossover.bench.machine import cuda
from crossover.kernels.base import Problem
from crossover.kernels.cpu.numpy_dense import DenseKernel, DenseOperand

_GPU = {"lost": False}
vars(cuda)["lost"] = lambda: _GPU["lost"]


class _GpuFake(DenseKernel):
    title = "Fake"
    device = "cuda"
    source = "tests"


class LosesGpu(_GpuFake):
    """After it no call of whatever kernel works."""

    name = "fake-loses-gpu"

    def needed_bytes(self, problem: Problem) -> int:
        _GPU["lost"] = True
        raise RuntimeError("an illegal memory access was encountered")


class LosesGpuUnseen(_GpuFake):
    """Its own calls return, as launches do that go wrong later."""

    name = "fake-loses-gpu-unseen"

    def unsupported(self, problem: Problem) -> str | None:
        _GPU["lost"] = True
        return "It computes nothing."


class OnGpu(_GpuFake):
    """Needs the GPU, and computes nothing."""

    name = "fake-on-gpu"

    def unsupported(self, problem: Problem) -> str | None:
        return "It computes nothing."

    def forward(self, operand: DenseOperand, x: Any, out: Any) -> Any:
        raise AssertionError("was not to be called")

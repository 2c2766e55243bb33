"""A network trained for its outcome: its accuracy, what is left of it, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Mapping

from crossover.bench.errors import InputError
from crossover.bench.harness.task import Outcome, TakeTurn, Task, TellShare
from crossover.bench.harness.trained.description import described
from crossover.bench.records.rows import HELD_OUT, Row
from crossover.bench.workloads import mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.pruning import structure
from crossover.kernels.base import Kernel

# Of a training that a checkpoint kept nothing was timed.
_LEAST_S = 1e-9
# By how much the sparsity may miss what was asked for, in shares of all weights.
_MISSED = 0.02


def learn(
    task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn, tell: TellShare
) -> Outcome:
    """Return the outcome of the training that the task's recipe says, kept as a checkpoint.

    It is of one kernel, which the recipe names. A training that was interrupted goes on. What a
    method of the user's does wrong fails it, and nothing else.
    """
    learned = task.problem.workload.weights
    assert isinstance(learned, LearnedNetwork)
    (name,) = kernels
    take_turn(name)
    begin = time.perf_counter()
    try:
        trained = learned.trained(tell)
    except InputError:
        raise
    except Exception as error:
        reason = f"its training raised {type(error).__name__}: {error}"
        return Outcome(None, {}, {name: Row(name, "failed", reason)})
    finally:
        take_turn("")
    taken_s = max(time.perf_counter() - begin, _LEAST_S)
    asked = learned.training.sparsity
    missed = abs(trained.sparsity - asked) > _MISSED
    reason = f"its sparsity is {trained.sparsity:.1%}, {asked:.1%} were asked for" if missed else ""
    row = Row(
        name,
        "failed" if missed else "measured",
        reason,
        samples=[taken_s],
        loops=1,
        accuracies=[trained.accuracy],
        nbytes=sum(state.weight.values.nbytes for state in trained.states),
        stored_entries=trained.nnz,
        facts={"train s": trained.train_s} | _held_out(trained) | _facts(trained),
        busy_s=taken_s,
    )
    batch = task.problem.workload.batch
    return Outcome(described(trained.network, trained.states, batch, steps=0), {}, {name: row})


def _held_out(trained: TrainedModel) -> dict[str, float]:
    """Return the accuracy on training images that it never saw, where there are any."""
    dataset = trained.recipe.held_out(mnist.load())
    if not len(dataset.test_images):
        return {}
    return {HELD_OUT: trained.accuracy_on(dataset)}


def _facts(trained: TrainedModel) -> dict[str, float]:
    """Return what is counted of the pattern of each pruned layer."""
    if not trained.recipe.sparsity:
        return {}
    return {
        f"{layer.name} {name}": value
        for layer, state in zip(trained.network.layers, trained.states, strict=True)
        for name, value in structure.facts(state.weight.pattern).items()
    }

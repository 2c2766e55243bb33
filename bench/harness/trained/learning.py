"""A network trained for its outcome: its accuracy, what is left of it, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping

from crossover.bench.harness.task import Outcome, TakeTurn, Task
from crossover.bench.harness.trained.description import described
from crossover.bench.records.rows import Row
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.pruning import structure
from crossover.kernels.base import Kernel

# What takes no time is left as it is: no rate can be told of it.
_LEAST_S = 1e-9


def learn(task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn) -> Outcome:
    """Return the outcome of the training that the task's recipe says, kept as a checkpoint.

    It is of one kernel, which the recipe names. A training that was interrupted goes on.
    """
    learned = task.problem.workload.weights
    assert isinstance(learned, LearnedNetwork)
    (name,) = kernels
    take_turn(name)
    trained = learned.trained()
    take_turn("")
    epochs = max(1, trained.recipe.epochs)
    row = Row(
        name,
        "measured",
        samples=[max(trained.train_s / epochs, _LEAST_S)],
        loops=1,
        accuracies=[trained.accuracy],
        nbytes=sum(state.weight.values.nbytes for state in trained.states),
        stored_entries=trained.nnz,
        facts=_facts(trained),
        busy_s=trained.train_s,
    )
    batch = task.problem.workload.batch
    return Outcome(described(trained.network, trained.states, batch), {}, {name: row})


def _facts(trained: TrainedModel) -> dict[str, float]:
    """Return what is counted of the pattern of each pruned layer."""
    if not trained.recipe.sparsity:
        return {}
    return {
        f"{layer.name} {name}": value
        for layer, state in zip(trained.network.layers, trained.states, strict=True)
        for name, value in structure.facts(state.weight.pattern).items()
    }

"""A network trained for its outcome: its accuracy, what is left of it, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Mapping

from crossover.bench.errors import InputError
from crossover.bench.harness.task import Outcome, ReportShare, TakeTurn, Task
from crossover.bench.harness.trained.description import described
from crossover.bench.records.rows import EPOCHS, HELD_OUT, STARTS_SPARSE, Row
from crossover.bench.workloads import mnist
from crossover.bench.workloads.checkpoints import TrainedModel
from crossover.bench.workloads.learned import LearnedNetwork
from crossover.bench.workloads.pruning import structure
from crossover.kernels.base import Kernel

# Of a training that a checkpoint kept nothing was timed.
_LEAST_S = 1e-9
# By how much the weights left may miss what was asked for, in shares of that.
_MISSED = 0.1


def learn(
    task: Task, kernels: Mapping[str, Kernel], take_turn: TakeTurn, report_share: ReportShare
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
        trained = learned.trained(report_share)
    except InputError:
        raise
    except Exception as error:
        reason = f"its training raised {type(error).__name__}: {error}"
        return Outcome(None, {}, {name: Row(name, "failed", reason)})
    finally:
        take_turn("")
    taken_s = max(time.perf_counter() - begin, _LEAST_S)
    asked = learned.training.sparsity
    missed = abs(trained.sparsity - asked) > _MISSED * (1 - asked)
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
        facts=_facts(trained) | _held_out(trained) | _pattern_facts(trained),
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
    """Return how a network was trained."""
    recipe = trained.recipe
    starts_sparse = bool(recipe.sparsity) and recipe.method.starts_sparse
    return {
        "train s": trained.train_s,
        EPOCHS: float(recipe.epochs_in_all),
        STARTS_SPARSE: float(starts_sparse),
    }


def _pattern_facts(trained: TrainedModel) -> dict[str, float]:
    """Return what is counted of the pattern of each pruned layer."""
    if not trained.recipe.sparsity:
        return {}
    return {
        f"{layer.name} {name}": value
        for layer, state in zip(trained.network.layers, trained.states, strict=True)
        for name, value in structure.facts(state.weight.pattern).items()
    }

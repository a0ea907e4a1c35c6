"""Wrong lines in the engines, and in what counts as solved."""

from __future__ import annotations

from mutated.mutation import Mutation

STEPS = "tests/engine/test_single_steps.py"
WEIGHTS = "tests/engine/test_initial_weights.py"
TRAINING = "tests/engine/test_training.py"
LONG = f"{TRAINING}::test_long_trainings_are_those_of_the_loop"
HELD_OUT = f"{TRAINING} -k held_out"
ALONE = "tests/engine/test_independence.py"
ROWS = "tests/engine/test_rows.py"
STACKED = "tests/engine/test_stacked.py"
NETWORK = "tests/engine/test_network.py"
CUSTOM = "tests/engine/test_custom.py"
SCHEDULE = "tests/engine/test_schedule.py"
FUNCTIONS = "tests/engine/test_fused_functions.py"

MUTATIONS = [
    # The engine's arithmetic.
    Mutation(
        "engine/custom.py",
        "seeds[i : i + 1], success) for i in",
        "seeds[:1], success) for i in",
        CUSTOM,
    ),
    Mutation(
        "engine/custom.py",
        "if frame.filename not in _OURS",
        "if frame.filename",
        CUSTOM,
    ),
    Mutation(
        "engine/custom_result.py",
        "    if not math.isfinite(number):\n        return _DIVERGED, values\n",
        "",
        CUSTOM,
    ),
    Mutation(
        "engine/custom_result.py",
        "np.where(finite, np.where(held, _SOLVED, _MISSED), _DIVERGED)",
        "np.where(held, _SOLVED, _MISSED)",
        CUSTOM,
    ),
    Mutation(
        "evaluation_details.py",
        "sorted(details.failed.items())",
        "details.failed.items()",
        CUSTOM,
    ),
    Mutation(
        "engine/reference.py",
        "before = self._b1\n",
        "before = 0 * self._b1\n",
        STEPS,
    ),
    Mutation(
        "engine/reference.py",
        "self._w1.unbind(1), strict",
        "self._w1.flip(1).unbind(1), strict",
        STEPS,
    ),
    Mutation("engine/reference.py", ".sum(dim=1) + self._b2", ".sum(dim=1) - self._b2", STEPS),
    Mutation("engine/reference.py", "values.mean(dim=0)", "values.sum(dim=0)", STEPS),
    Mutation("engine/reference.py", "kind(dim=1)", "kind(dim=0)", f"{STEPS} -k max"),
    Mutation("engine/reference.py", "momentum=config.momentum", "momentum=0.0", LONG),
    Mutation("engine/reference.py", "torch.where(nan, outputs, safe)", "safe", ALONE),
    Mutation("engine/reference.py", "a=math.sqrt(5)", "a=math.sqrt(6)", WEIGHTS),
    Mutation(
        "engine/reference.py",
        "1 / math.sqrt(weight.shape[1])",
        "1 / math.sqrt(weight.shape[0])",
        WEIGHTS,
    ),
    Mutation(
        "engine/reference.py",
        "generator.manual_seed(seed)",
        "generator.manual_seed(seed % 2**31)",
        WEIGHTS,
    ),
    Mutation("engine/reference.py", "    if zero_grad:", "    if True:", LONG),
    Mutation("engine/reference.py", "torch.ones_like(weights[0])", "weights[0] * 0 + 0.9", LONG),
    Mutation("engine/reference.py", "if epoch < config.epochs:", "if epoch > 1:", LONG),
    # What counts as solved, and since when.
    Mutation(
        "engine/reference.py", "judge.see(epoch, outputs)", "judge.see(epoch - 1, outputs)", LONG
    ),
    Mutation(
        "engine/reference.py", "judge.see(epoch, network", "judge.see(epoch - 1, network", HELD_OUT
    ),
    Mutation(
        "engine/reference.py", "masked_fill_(~solved, epoch)", "masked_fill_(solved, epoch)", LONG
    ),
    Mutation("engine/reference.py", "(self._unsolved + 1)", "self._unsolved", LONG),
    Mutation(
        "engine/reference.py",
        "(self._outputs > 0.5)",
        "(self._outputs >= 0.5)",
        f"{TRAINING} -k half",
    ),
    Mutation("engine/reference.py", ".all(dim=0) & network.finite()", ".all(dim=0)", ALONE),
    Mutation("engine/reference.py", "forward(judge.inputs)", "forward(inputs)", HELD_OUT),
    Mutation("engine/reference.py", "weights.grad.add_(gradient)", "pass", LONG),
    Mutation(
        "engine/reference.py", "np.full(-len(seeds) % LANES, seeds[-1])", "np.full(0, 0)", ALONE
    ),
    # Stacks of configs.
    Mutation("engine/rows.py", "step else rates", "step > 1 else rates", f"{ROWS} -k ASGD"),
    Mutation("engine/rows.py", "self.which)", "0 * self.which)", f"{ROWS} -k every_step"),
    Mutation("engine/rows.py", "-(rows.lr / (1 - BETA1**step))", "-rows.lr", f"{ROWS} -k Adam"),
    Mutation("engine/rows.py", "buffer.mul_(momentum).add_", "buffer.add_", f"{ROWS} -k SGD"),
    Mutation("engine/rows.py", "length > 5.0", "length > 4.0", f"{ROWS} -k RAdam"),
    Mutation("engine/rows.py", "sign.eq(down), 0", "sign.eq(down), 1", f"{ROWS} -k Rprop"),
    Mutation("engine/stacked.py", "which - first", "which", f"{STACKED} -k cut_anywhere"),
    Mutation("engine/stacked.py", "end - len(training.seeds)", "0", f"{STACKED} -k own_seeds"),
    Mutation("engine/stacked.py", "start += width", "start += len(part)", f"{STACKED} -k cut"),
    Mutation("engine/stacked.py", "_padded(width // 2)", "LANES", f"{STACKED} -k halves"),
    Mutation(
        "engine/stacked.py", "min(free, share", "min(free, 4 * share", f"{STACKED} -k width_is"
    ),
    Mutation("engine/stacked.py", "2 * len(training", "len(training", f"{STACKED} -k fill"),
    Mutation("engine/trainings.py", "config.momentum > 0,", "", f"{STACKED} -k differ"),
    Mutation("engine/trainings.py", "config.epochs,", "", f"{STACKED} -k differ"),
    Mutation("engine/network.py", "and self.gpus else", "else", f"{NETWORK} -k decides"),
    Mutation(
        "engine/network.py",
        "_tell_that_there_is_no_gpu()\n\n",
        "pass\n\n",
        f"{NETWORK} -k told_once",
    ),
    # The fused engine. What is named here is compiled in a second; the whole kernel takes fifteen.
    Mutation(
        "engine/kernels/optimizers.py",
        "at_most(at_least(grown, 1e-6), 50.0)",
        "at_most(grown, 50.0)",
        f"{SCHEDULE} -k Rprop",
    ),
    Mutation("engine/schedule.py", "length > 5", "length > 4", f"{SCHEDULE} -k RAdam"),
    Mutation(
        "engine/kernels/functions.py",
        "select(x < -88.0, 0.0, reciprocal(exp(-x) + 1.0))",
        "reciprocal(exp(-x) + 1.0)",
        f"{FUNCTIONS} -k sigmoid",
    ),
    Mutation(
        "engine/kernels/activations.py",
        "at_least(x, 0.0), select(x <= 0.0, 0.0, 1.0)",
        "at_least(x, 0.0), select(x < 0.0, 0.0, 1.0)",
        f"{FUNCTIONS} -k derivative",
    ),
    Mutation(
        "engine/kernels/losses.py",
        "select(q < 1e-12, d * 1e12 * q, d)",
        "d",
        f"{FUNCTIONS} -k BCELoss",
    ),
    Mutation(
        "engine/kernels/mersenne.py",
        "mixed + np.uint32(i)",
        "mixed + np.uint32(1)",
        "tests/engine/test_mersenne.py",
    ),
    Mutation(
        "engine/kernels/cache.py",
        "self.flush()",
        "pass",
        "tests/engine/test_kernel_cache.py -k damaged",
    ),
    Mutation("engine/network.py", "max((config for", "min((config for", f"{NETWORK} -k order"),
    Mutation(
        "engine/network.py",
        "checkpoints=())",
        "checkpoints=outcome.checkpoints)",
        f"{NETWORK} -k order",
    ),
    Mutation("outcome.py", "status[~finite] = Status.DIVERGED", "pass", "tests/test_outcome.py"),
    Mutation(
        "outcome.py",
        "right >= task.rows_needed",
        "right > task.rows_needed",
        "tests/test_outcome.py",
    ),
    Mutation("outcome.py", "self.epochs * int(", "0 * int(", "tests/test_outcome.py"),
    Mutation("outcome.py", "(array > MAX_SEED)", "(array > MAX_SEED + 1)", "tests/test_outcome.py"),
    Mutation(
        "task.py",
        "self.accuracy * total - 1e-9",
        "self.accuracy * total + 1e-9",
        "tests/test_task.py",
    ),
]

"""JAX on the task of gpu.py: the step in jax.numpy, compiled by XLA, many steps in one lax.scan."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # other programs use the GPU too

import jax
import jax.numpy as jnp
import numpy as np
from gpu_case import Case, Values, floats_and_labels, network
from jax import lax

STEPS_PER_SCAN = 50
BATCH_NORM_EPS, MOMENTUM = 1e-5, 0.1
Tree = Any  # nested dicts of arrays


class JaxSteps:
    """A training step of JAX; see ``gpu_case.System``."""

    def __init__(self, case: Case) -> None:
        jax.config.update("jax_default_matmul_precision", "highest")  # float32, no TF32
        device = jax.devices("gpu" if case.device == "cuda" else "cpu")[0]
        self.x, self.y = (jax.device_put(a, device) for a in floats_and_labels(case.batch))
        weights, running = initial(case)
        zeros = {name: np.zeros_like(a) for name, a in weights.items()}
        state = (
            weights,
            running,
            zeros,
            zeros,
            np.int32(0),
            np.asarray(jax.random.key_data(jax.random.key(0))),
        )
        self.state = jax.device_put(state, device)
        step = partial(train_step, case)

        def many(state: Tree, x: Any, y: Any) -> tuple[Tree, Any]:
            def body(state: Tree, _: None) -> tuple[Tree, Any]:
                state, loss, _ = step(state, x, y)
                return state, loss

            return lax.scan(body, state, None, length=STEPS_PER_SCAN)

        self._one, self._many = jax.jit(step), jax.jit(many, donate_argnums=0)
        self.about = f"JAX {jax.__version__} on {device.device_kind}"

    def steps(self, n: int) -> None:
        scans, rest = divmod(n, STEPS_PER_SCAN)
        for _ in range(scans):
            self.state, self.losses = self._many(self.state, self.x, self.y)
        for _ in range(rest):
            self.state, self.loss, self.gradients = self._one(self.state, self.x, self.y)

    def wait(self) -> None:
        jax.block_until_ready(self.state)

    def last(self) -> tuple[float, Values, Values]:
        weights, running = self.state[:2]
        gradients, state = (
            {name: np.asarray(a) for name, a in tree.items()}
            for tree in (self.gradients, weights | running)
        )
        return float(self.loss), gradients, state


def initial(case: Case) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the weights and the running statistics of ``nplenet.models.LeNet5`` by their names."""
    state = network(case).state_dict()
    floats = {name: a for name, a in state.items() if a.dtype == np.float32}
    running = {name: a for name, a in floats.items() if "running" in name}
    return {name: a for name, a in floats.items() if name not in running}, running


def train_step(case: Case, state: Tree, x: Any, y: Any) -> tuple[Tree, Any, Tree]:
    """Do a step; return the new state, the loss and the gradients."""
    weights, running, means, squares, k, key = state
    keys = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(key), k))
    compute = jax.value_and_grad(loss_of, argnums=1, has_aux=True)
    (loss, running), gradients = compute(case, weights, running, x, y, keys)
    k = k + 1
    update = partial(adamw, case, k.astype(jnp.float32))
    new = {
        name: update(w, gradients[name], means[name], squares[name]) for name, w in weights.items()
    }
    weights, means, squares = ({name: new[name][i] for name in new} for i in range(3))
    return (weights, running, means, squares, k, key), loss, gradients


def adamw(case: Case, k: Any, w: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
    """Return the new weight and its moments after step ``k``, counted from 1."""
    beta1, beta2 = case.betas
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    mean, square = m / (1 - beta1**k), v / (1 - beta2**k)
    shrunk = w * (1 - case.lr * case.weight_decay)
    return shrunk - case.lr * mean / (jnp.sqrt(square) + case.eps), m, v


def loss_of(case: Case, w: Tree, running: Tree, x: Any, y: Any, keys: Any) -> tuple[Any, Tree]:
    """Return the mean cross entropy, and the new running statistics."""
    new: Tree = {}
    for conv, norm in (("features.0", "features.1"), ("features.4", "features.5")):
        x = lax.conv_general_dilated(
            x, w[f"{conv}.weight"], (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW")
        )
        x, statistics = batch_norm(x, w[f"{norm}.weight"], w[f"{norm}.bias"])
        for name, value in statistics.items():
            old = running[f"{norm}.running_{name}"]
            new[f"{norm}.running_{name}"] = (1 - MOMENTUM) * old + MOMENTUM * value
        x = jax.nn.relu(x)
        x = lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
    x = x.reshape(len(x), -1)
    for dense, key in (("classifier.1", keys[0]), ("classifier.4", keys[1])):
        x = jax.nn.relu(x @ w[f"{dense}.weight"].T + w[f"{dense}.bias"])
        if case.dropout:
            kept = jax.random.bernoulli(key, 1 - case.dropout, x.shape)
            x = jnp.where(kept, x / (1 - case.dropout), 0)
    logits = x @ w["classifier.7.weight"].T + w["classifier.7.bias"]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
    return -chosen.mean(), new


def batch_norm(x: Any, weight: Any, bias: Any) -> tuple[Any, dict[str, Any]]:
    """Normalise (N, C, H, W) per channel; return mean and unbiased variance too."""
    m = x.size // x.shape[1]
    mean = x.mean(axis=(0, 2, 3))
    centered = x - mean[:, None, None]
    var = (centered * centered).mean(axis=(0, 2, 3))
    scale = weight * lax.rsqrt(var + BATCH_NORM_EPS)
    y = centered * scale[:, None, None] + bias[:, None, None]
    return y, {"mean": mean, "var": var * m / (m - 1)}

"""Every optimizer once more, in float64 NumPy, straight from its equations: slow, obvious, and the judge of the table.

Each function goes through the gradients and returns θ after the last and ẑ at the last: `(theta, z)`. `a` is α.
Those of Table 5 are transcribed from it; of the others the docstring names the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Twin = Callable[[Array, Sequence[Array], float, float, float, float], tuple[Array, Array]]


def adagrad(theta, gradients, a, eps, _b1, _b2):
    v = np.zeros_like(theta)
    for g in gradients:
        v = v + g**2
        z = np.sqrt(v)
        theta = theta - a / (z + eps) * g
    return theta, z


def rmsprop(theta, gradients, a, eps, _b1, b):
    v = np.zeros_like(theta)
    for g in gradients:
        v = b * v + (1 - b) * g**2
        z = np.sqrt(v)
        theta = theta - a / (z + eps) * g
    return theta, z


def rmsprop_centered(theta, gradients, a, eps, _b1, b):
    """Graves 2013, https://arxiv.org/abs/1308.0850, Eqs. 38 to 40, with ε outside the root."""
    v, n = np.zeros_like(theta), np.zeros_like(theta)
    for g in gradients:
        v = b * v + (1 - b) * g**2
        n = b * n + (1 - b) * g
        z = np.sqrt(v - n**2)
        theta = theta - a / (z + eps) * g
    return theta, z


def adam(theta, gradients, a, eps, b1, b2):
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        z = np.sqrt(v_hat)
        theta = theta - a / (z + eps) * m_hat
    return theta, z


def diffgrad(theta, gradients, a, eps, b1, b2):
    m, v, previous = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        xi = 1 / (1 + np.exp(-np.abs(previous - g)))
        assert np.all((xi >= 0.5) & (xi <= 1))
        previous = g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        z = np.sqrt(v_hat)
        theta = theta - a * xi / (z + eps) * m_hat
    return theta, z


def adamod(theta, gradients, a, eps, b1, b2, b3=0.999):
    m, v, s = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        z = np.sqrt(v_hat)
        n = a / (z + eps)
        s = b3 * s + (1 - b3) * n
        theta = theta - np.minimum(n, s) * m_hat
    return theta, z


def _epsilon_accumulated(theta, gradients, a, eps, b1, b2, averaged, outside):
    """AdaBelief, EAdam and AdaMomentum: s as their authors accumulate it, checked against Table 5's rearrangement.

    `averaged(g, m)` is what v averages the square of; `outside` the ε that stands outside the root.
    """
    m, v, s = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * averaged(g, m) ** 2
        s = b2 * s + (1 - b2) * averaged(g, m) ** 2 + eps
        np.testing.assert_allclose(s, v + (1 - b2**t) * eps / (1 - b2), rtol=1e-12)
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        s_hat = s / (1 - b2**t)
        z = (1 - b2) * v_hat
        theta = theta - a / (np.sqrt(s_hat) + outside) * m_hat
    return theta, z


def adabelief(theta, gradients, a, eps, b1, b2):
    return _epsilon_accumulated(theta, gradients, a, eps, b1, b2, lambda g, m: g - m, outside=eps)


def eadam(theta, gradients, a, eps, b1, b2):
    return _epsilon_accumulated(theta, gradients, a, eps, b1, b2, lambda g, m: g, outside=0.0)


def adamomentum(theta, gradients, a, eps, b1, b2):
    return _epsilon_accumulated(theta, gradients, a, eps, b1, b2, lambda g, m: m, outside=0.0)


def madgrad(theta, gradients, a, eps, b1, _b2):
    start, s, v = theta, np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients):
        rate = a * np.sqrt(t + 1)
        s = s + rate * g
        v = v + rate * g**2
        z = np.cbrt(v)
        theta = b1 * theta + (1 - b1) * (start - 1 / (z + eps) * s)
    return theta, z


def adamw(theta, gradients, a, eps, b1, b2):
    """Loshchilov and Hutter 2019: Adam, apart from its weight decay."""
    return adam(theta, gradients, a, eps, b1, b2)


def amsgrad(theta, gradients, a, eps, b1, b2):
    """Reddi et al. 2018, with the bias correction and the ε of torch.optim.Adam's documentation."""
    m, v, largest = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        z = np.sqrt(largest / (1 - b2**t))
        theta = theta - a / (z + eps) * m / (1 - b1**t)
    return theta, z


def nadam(theta, gradients, a, eps, b1, b2, momentum_decay=4e-3):
    """Dozat 2016, as torch.optim.NAdam documents it."""
    m, v, product = np.zeros_like(theta), np.zeros_like(theta), 1.0
    for t, g in enumerate(gradients, start=1):
        mu = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product = product * mu
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        z = np.sqrt(v / (1 - b2**t))
        theta = theta - a / (z + eps) * m_hat
    return theta, z


def radam(theta, gradients, a, eps, b1, b2):
    """Liu et al. 2019, as torch.optim.RAdam documents it: ε beside the root of the uncorrected v."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    rho_inf = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        z = np.sqrt(v)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            theta = theta - a * r * np.sqrt(1 - b2**t) / (z + eps) * m_hat
        else:
            theta = theta - a * m_hat
    return theta, z


def adamax(theta, gradients, a, eps, b1, b2):
    """Kingma and Ba 2015, with ε as torch.optim.Adamax documents it; ẑ is what the gradients put on top of it."""
    m, u = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        theta = theta - a / (1 - b1**t) * m / u
    return theta, u - eps


def yogi(theta, gradients, a, eps, b1, b2, initial=1e-6):
    """Zaheer et al. 2018, with bias correction."""
    m, v = np.zeros_like(theta), np.full_like(theta, initial)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        z = np.sqrt(v / (1 - b2**t))
        theta = theta - a / (z + eps) * m / (1 - b1**t)
    return theta, z


def lamb(theta, gradients, a, eps, b1, b2, weight_decay=0.0):
    """You et al. 2020, Algorithm 2, φ(x) = x."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        z = np.sqrt(v_hat)
        u = m_hat / (z + eps) + weight_decay * theta
        norms = np.linalg.norm(theta), np.linalg.norm(u)
        ratio = norms[0] / norms[1] if all(norms) else 1.0
        theta = theta - a * ratio * u
    return theta, z


TWINS: dict[str, Twin] = {
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "diffgrad": diffgrad,
    "adamod": adamod,
    "adabelief": adabelief,
    "madgrad": madgrad,
    "eadam": eadam,
    "adamomentum": adamomentum,
    "adamw": adamw,
    "amsgrad": amsgrad,
    "nadam": nadam,
    "radam": radam,
    "adamax": adamax,
    "yogi": yogi,
    "lamb": lamb,
}

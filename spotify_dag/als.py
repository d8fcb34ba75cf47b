"""Implicit-feedback alternating least squares, as `implicit` solves it. Hu, Koren and Volinsky, ICDM 2008."""

from __future__ import annotations

from functools import cache
from typing import Any


def als_solver(*, dim: int, alpha: float, ridge: float, iterations: int, seed: int, threads: int = 0) -> Any:
    """Return the solver; fit it within `one_blas_thread`.

    Parameters
    ----------
    dim
        Length of the factors.
    alpha, ridge
        As in the paper: confidence in a value r is ``1 + alpha r``; ``ridge`` regularises both sides.
    iterations
        Each solves for all users and all items.
    seed
        Of the start.
    threads
        0: one per core. Each row is solved by one thread, so the result does not depend on their number.
    """
    import warnings

    with warnings.catch_warnings():
        # It advises to limit the threads of BLAS, which `one_blas_thread` does.
        warnings.simplefilter("ignore", RuntimeWarning)
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares(
            factors=dim, regularization=ridge, alpha=alpha, iterations=iterations, random_state=seed,
            num_threads=threads,
        )  # fmt: skip


def one_blas_thread() -> Any:
    """Return a context in which BLAS computes on one thread: the same bits on any number of cores, and no waiting."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> Any:
    """Return the controller of BLAS threads, found once: the search takes longer than a fit."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()

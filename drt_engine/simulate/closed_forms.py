"""The Cole-Cole and Havriliak-Negami functions as arrays in, arrays out; everything broadcasts.

Both are written in q = exp(-|ln u|), which lies in (0, 1], so that nothing overflows however far ω or τ is from the
peak, and with sin²(π(1 - φ)/2) in place of 1 - cos(π(1 - φ)), which loses all digits as φ comes near 1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cole_davidson_gamma", "havriliak_negami_gamma", "zarc_gamma", "zarc_impedance"]


def zarc_impedance(omega: ArrayLike, r: ArrayLike, tau: ArrayLike, phi: ArrayLike) -> NDArray[np.complex128]:
    r"""Impedance of a ZARC, :math:`R / (1 + (j\omega\tau)^\phi)`, ohm.

    Parameters
    ----------
    omega, r, tau, phi : array_like
        Angular frequency (1/s), resistance (ohm), relaxation time (s) and exponent; they broadcast.

    Returns
    -------
    ndarray of complex
        Impedance, ohm, of the broadcast shape [1]_.

    References
    ----------
    .. [1] K. S. Cole, R. H. Cole, J. Chem. Phys. 9 (1941) 341.
    """
    r, phi = np.asarray(r, dtype=float), np.asarray(phi, dtype=float)
    x = phi * (np.log(omega) + np.log(tau))
    q = np.exp(-np.abs(x))
    cosine, sine = np.cos(np.pi * phi / 2), np.sin(np.pi * phi / 2)
    scale = r / (1 + q * (2 * cosine + q))
    z = np.empty(scale.shape, dtype=complex)
    z.real = scale * (np.where(x > 0, q * q, 1.0) + q * cosine)
    z.imag = -scale * q * sine
    return z


def zarc_gamma(tau: ArrayLike, r: ArrayLike, tau_0: ArrayLike, phi: ArrayLike) -> NDArray[np.float64]:
    r"""γ of a ZARC with φ < 1, per unit of natural logarithm of τ.

    .. math:: \gamma = \frac{R}{2\pi} \frac{\sin((1-\phi)\pi)}{\cosh(\phi \ln(\tau/\tau_0)) - \cos((1-\phi)\pi)}

    Parameters
    ----------
    tau, r, tau_0, phi : array_like
        Where γ is wanted (s), resistance (ohm), relaxation time of the peak (s) and exponent; they broadcast.

    Returns
    -------
    ndarray
        γ, ohm, of the broadcast shape [1]_.

    References
    ----------
    .. [1] K. S. Cole, R. H. Cole, J. Chem. Phys. 9 (1941) 341.
    """
    r, phi = np.asarray(r, dtype=float), np.asarray(phi, dtype=float)
    q, below = _folded(phi * (np.log(tau) - np.log(tau_0)))
    half = np.sin(np.pi * (1 - phi) / 2)
    return np.asarray(r / np.pi * np.sin(np.pi * (1 - phi)) * q / (below**2 + 4 * q * half**2))


def havriliak_negami_gamma(
    tau: NDArray[np.float64], r: float, tau_0: float, phi: float, psi: float
) -> NDArray[np.float64]:
    r"""γ of a Havriliak-Negami element with φ < 1, per unit of natural logarithm of τ.

    .. math:: \gamma = \frac{R}{\pi} \frac{u^\psi \sin(\psi\theta)}{(1 + 2u\cos\pi\phi + u^2)^{\psi/2}},
        \quad u = (\tau/\tau_0)^\phi, \quad \theta = \mathrm{atan2}(\sin\pi\phi, u + \cos\pi\phi)

    Parameters
    ----------
    tau : ndarray, shape (T,)
        Where γ is wanted, s.
    r, tau_0, phi, psi : float
        Resistance (ohm), relaxation time (s) and exponents.

    Returns
    -------
    ndarray, shape (T,)
        γ, ohm [1]_.

    References
    ----------
    .. [1] S. Havriliak, S. Negami, Polymer 8 (1967) 161.
    """
    x = phi * (np.log(tau) - np.log(tau_0))
    q, below = _folded(x)
    half, sine = np.sin(np.pi * (1 - phi) / 2), np.sin(np.pi * (1 - phi))
    rising = x <= 0
    # beyond the peak this is θ, before it πφ - θ; so sin ψθ keeps its digits, and its sign, where ψθ is close to π
    angle = psi * np.arctan2(q * sine, below + 2 * q * half**2)
    turned = np.where(rising, np.pi * (1 - phi * psi) + angle, angle)
    envelope = np.where(rising, q**psi, 1.0) / (below**2 + 4 * q * half**2) ** (psi / 2)
    return np.asarray(r / np.pi * np.sin(turned) * envelope)


def cole_davidson_gamma(tau: NDArray[np.float64], r: float, tau_0: float, psi: float) -> NDArray[np.float64]:
    r"""γ of a Cole-Davidson element, :math:`R / (1 + j\omega\tau_0)^\psi` with ψ < 1, per unit of natural logarithm.

    .. math:: \gamma = \frac{R}{\pi} \sin(\pi\psi) \left(\frac{\tau}{\tau_0 - \tau}\right)^\psi
        \text{ for } \tau < \tau_0, \text{ and } 0 \text{ beyond.}

    Parameters
    ----------
    tau : ndarray, shape (T,)
        Where γ is wanted, s.
    r, tau_0, psi : float
        Resistance (ohm), relaxation time (s) and exponent. ψ = ½ is the Gerischer element.

    Returns
    -------
    ndarray, shape (T,)
        γ, ohm [1]_; infinite, but integrable, at τ = τ₀ itself.

    References
    ----------
    .. [1] D. W. Davidson, R. H. Cole, J. Chem. Phys. 19 (1951) 1484.
    """
    gamma = np.zeros(tau.shape)
    gamma[tau == tau_0] = np.inf
    inside = tau < tau_0
    gamma[inside] = r / np.pi * np.sin(np.pi * psi) * (tau[inside] / (tau_0 - tau[inside])) ** psi
    return gamma


def _folded(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Q = exp(-|x|), and 1 - q without loss of digits near the peak."""
    fold = np.asarray(-np.abs(x))
    return np.exp(fold), -np.expm1(fold)

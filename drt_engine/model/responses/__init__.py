"""Elements that a distribution may be made of, a file each; a new one is a file and a line here."""

from collections.abc import Mapping

from drt_engine.model.responses.admittance import ADMITTANCE
from drt_engine.model.responses.base import Response, ResponseName, hat_impedance, radial_impedance
from drt_engine.model.responses.blocking_planar import BLOCKING_PLANAR
from drt_engine.model.responses.blocking_spherical import BLOCKING_SPHERICAL
from drt_engine.model.responses.relaxation import RELAXATION
from drt_engine.model.responses.transmissive_planar import TRANSMISSIVE_PLANAR
from drt_engine.model.responses.transmissive_spherical import TRANSMISSIVE_SPHERICAL

__all__ = ["KERNELS", "RESPONSES", "Response", "ResponseName", "hat_impedance", "radial_impedance"]

RESPONSES: Mapping[str, Response] = {
    one.name: one
    for one in (
        RELAXATION,
        TRANSMISSIVE_PLANAR,
        TRANSMISSIVE_SPHERICAL,
        BLOCKING_PLANAR,
        BLOCKING_SPHERICAL,
        ADMITTANCE,
    )
}
"""All responses by name."""

KERNELS = tuple(name for name in RESPONSES if name != ADMITTANCE.name)
"""Names that `kernel` may have."""

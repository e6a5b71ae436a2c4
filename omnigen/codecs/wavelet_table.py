"""Standard deviations of wavelet subbands over photographs, as benchmarks/wavelet_statistics.py prints."""

from __future__ import annotations

# One row per plane (Y, Cb, Cr) of images in [-1, 1]: the coarse picture, then each level's details, coarse
# levels first: across (vertical edges), down (horizontal edges), both.
STANDARD_DEVIATIONS: tuple[tuple[float, ...], ...] = (
    (3.32718, 0.63847, 0.61290, 0.38619, 0.28622, 0.26377, 0.17147, 0.11671, 0.10674, 0.05879),
    (0.94281, 0.11578, 0.10523, 0.06330, 0.04802, 0.04338, 0.02604, 0.01725, 0.01573, 0.00783),
    (1.38479, 0.14495, 0.15819, 0.09003, 0.05627, 0.06288, 0.03493, 0.01960, 0.02071, 0.00911),
)

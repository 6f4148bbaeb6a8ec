"""What happens to speech on its way to the microphone and beyond, for a whole batch at once.

Every function takes waves ``(batch, samples)`` on any device and is a pure function of what it is
given: chance is drawn before. What is linear is done in one Fourier transform there and back.
"""

import math
from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

from hive_mtl.audio import SAMPLE_RATE

TELEPHONE_RATE = 8_000
MU = 255.0  # of the mu-law of G.711
EQUALISER_HZ = (60.0, 140.0, 320.0, 700.0, 1_500.0, 3_300.0, 7_200.0)
FLAT_BELOW_HZ = 125.0  # where coloured noise has no more slope: its power is to be heard
FAINTEST = 1e-6  # deviation of a wave that is no silence


def replayed(waves: Tensor, samples: int) -> Tensor:
    """Waves played faster or slower: what took their own length then takes ``samples``."""
    spectrum = torch.fft.rfft(waves)
    played: Tensor = torch.fft.irfft(spectrum * (samples / waves.shape[1]), samples)
    return played


def filtered(waves: Tensor, gains_db: Tensor, responses: Tensor) -> Tensor:
    """Waves through an equaliser and a room, as loud as before.

    Args:
        waves: ``(batch, samples)``.
        gains_db: ``(batch, len(EQUALISER_HZ))``; between these frequencies the gain is a straight
            line over the logarithm of the frequency.
        responses: ``(batch, samples of the longest)``; a single one leaves a wave in free air.
    """
    count = waves.shape[1]
    points = _fast(count + responses.shape[1] - 1)
    spectrum = torch.fft.rfft(waves, points)
    spectrum *= torch.exp(gains_db @ _bands(points, waves.device))
    spectrum *= torch.fft.rfft(responses, points)
    return _as_loud(torch.fft.irfft(spectrum, points)[:, :count], waves)


def coloured(white: Tensor, slopes_db: Tensor) -> Tensor:
    """White noise ``(batch, samples)`` with a slope of ``slopes_db`` ``(batch,)`` an octave."""
    count = white.shape[1]
    points = _fast(count)
    octaves = _hertz(points, white.device).clamp(min=FLAT_BELOW_HZ).log2()
    gains = torch.exp(torch.outer(slopes_db * (math.log(10.0) / 20.0), octaves))
    noises: Tensor = torch.fft.irfft(torch.fft.rfft(white, points) * gains, points)
    return noises[:, :count]


def together(waves: Tensor, weights: Tensor) -> Tensor:
    """Voices of a batch talking at once: ``(mixtures, batch)`` weights -> ``(mixtures, samples)``.

    Each voice is brought to the same power before.
    """
    return (weights / _deviation(waves).clamp(min=FAINTEST).T) @ waves


def mixed(waves: Tensor, noises: Tensor, snr_db: Tensor) -> Tensor:
    """Waves with noises of the same shape added at ``snr_db`` ``(batch,)``; silence stays."""
    ratio = _deviation(waves) / _deviation(noises).clamp(min=FAINTEST)
    return waves + noises * (ratio * 10.0 ** (-snr_db.unsqueeze(1) / 20.0))


def through_telephone(waves: Tensor, edges_hz: Tensor) -> Tensor:
    """What a fixed line leaves of waves: a band, sampled at 8 kHz, coded as G.711 does.

    The band falls off as a digital Butterworth filter of second order does, without its phase.

    Args:
        waves: ``(batch, samples)``.
        edges_hz: ``(batch, 2)`` the band.
    """
    count = waves.shape[1]
    points = 4 * _fast(-(-count // 4))
    narrow = points * TELEPHONE_RATE // SAMPLE_RATE
    hertz = _hertz(points, waves.device)[1 : narrow // 2 + 1]
    place, low, high = (_warped(each) for each in (hertz, edges_hz[:, :1], edges_hz[:, 1:]))
    offset = (place - low * high / place) / (high - low)
    band = functional.pad((1.0 + offset**4).rsqrt(), (1, 0))  # and nothing at 0 Hz
    spectrum = torch.fft.rfft(waves, points)[:, : narrow // 2 + 1]
    line = torch.fft.irfft(spectrum * (band / 2), narrow)
    heard: Tensor = torch.fft.irfft(torch.fft.rfft(mu_law(line)) * 2, points)
    return heard[:, :count]


def mu_law(waves: Tensor) -> Tensor:
    """Waves after 8-bit mu-law coding and decoding (ITU-T G.711), each at its own loudness.

    A line is driven near full scale whatever the recording's level, so a wave is coded at a peak of
    one half.
    """
    peak = 2 * waves.abs().amax(dim=1, keepdim=True).clamp(min=FAINTEST)
    compressed = torch.log1p(waves.abs() * (MU / peak)) / math.log1p(MU)
    levels = torch.round(compressed * 127.5) / 127.5
    return waves.sign() * torch.expm1(levels * math.log1p(MU)) * (peak / MU)


def _deviation(waves: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(waves, dim=1, keepdim=True)
    return norm / math.sqrt(waves.shape[1])


def _as_loud(waves: Tensor, before: Tensor) -> Tensor:
    return waves * (_deviation(before) / _deviation(waves).clamp(min=FAINTEST))


@lru_cache(maxsize=32)
def _bands(points: int, device: torch.device) -> Tensor:
    """What each decibel of an equaliser adds to the logarithm of the gain: ``(bands, bins)``."""
    centres = torch.tensor(EQUALISER_HZ, device=device).log()
    place = _hertz(points, device).clamp(EQUALISER_HZ[0], EQUALISER_HZ[-1]).log()
    step = torch.diff(centres)
    position = torch.bucketize(place, centres[1:-1])
    above = (place - centres[position]) / step[position]
    index = torch.arange(len(centres), device=device).unsqueeze(1)
    shares = torch.where(index == position, 1 - above, torch.zeros_like(above))
    shares += torch.where(index == position + 1, above, torch.zeros_like(above))
    return shares * (math.log(10.0) / 20.0)


def _warped(hertz: Tensor) -> Tensor:
    """Frequencies on a telephone line as the bilinear transform bends them."""
    return torch.tan(hertz * (math.pi / TELEPHONE_RATE))


def _hertz(points: int, device: torch.device) -> Tensor:
    """The frequency of each bin of a Fourier transform: ``(bins,)``."""
    return torch.arange(points // 2 + 1, device=device) * (SAMPLE_RATE / points)


def _fast(samples: int) -> int:
    """The next length of which a Fourier transform is fast."""
    return int(next_fast_len(samples, real=True))

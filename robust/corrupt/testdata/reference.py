# imagecorruptions 1.1.2, patched so far that it runs with current packages, and
# with random numbers that are recorded. Pins: requirements.txt beside this.
import cv2
import numpy as np
import skimage
import skimage.filters

np.float_ = np.float64  # numpy 2 has no np.float_, which fog asks for
_gaussian = skimage.filters.gaussian


def gaussian(image, *args, multichannel=None, **kwargs):
    """scikit-image's, which calls multichannel channel_axis since 0.20."""
    if multichannel is not None:
        kwargs["channel_axis"] = -1 if multichannel else None
    return _gaussian(image, *args, **kwargs)


skimage.filters.gaussian = gaussian
cv2.setNumThreads(1)
import imagecorruptions.corruptions as corruptions  # noqa: E402
from imagecorruptions import corrupt, get_corruption_names  # noqa: E402, F401


class Recorder:
    """Stands in for numpy.random. Its numbers have few bits, so that they take
    little room: normal ones are multiples of 1/128, uniform ones of 2**-16."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.normals, self.uniforms, self.counts, self.integers = [], [], [], []

    def standard(self, size):
        z = np.round(self.rng.standard_normal(size) * 128).astype(np.int16)
        self.normals.append(z.ravel())
        return z / 128

    def unit(self, size):
        u = self.rng.integers(0, 65536, size, dtype=np.uint16)
        self.uniforms.append(np.ravel(u))
        return u / 65536

    def normal(self, loc=0.0, scale=1.0, size=None):
        return loc + scale * self.standard(size)

    def uniform(self, low=0.0, high=1.0, size=None):
        return low + (high - low) * self.unit(size)

    def poisson(self, lam):
        n = self.rng.poisson(lam).astype(np.uint8)
        self.counts.append(n.ravel())
        return n

    def randint(self, low, high=None, size=None):
        if high is None:
            low, high = 0, low
        n = self.rng.integers(low, high, size)
        self.integers.append(np.ravel(n).astype(np.int16))
        return n

    def recorded(self):
        of = {"normal": (self.normals, np.int16), "uniform": (self.uniforms, np.uint16), "counts": (self.counts, np.uint8), "integers": (self.integers, np.int16)}
        return {k: np.concatenate(v).astype(t) for k, (v, t) in of.items() if v}


class Impulses(np.random.Generator):
    """The generator of scikit-image's impulse noise, by a Recorder."""

    def __init__(self, recorder):
        super().__init__(np.random.PCG64(0))
        self.recorder = recorder

    def random(self, size=None, **_):
        return self.recorder.unit(size)


_random_noise = skimage.util.random_noise
_numpy_random = ("normal", "uniform", "poisson", "randint")
_kept = {k: getattr(np.random, k) for k in _numpy_random}
_imread = cv2.imread


def recorded(picture, name, severity, seed, texture):
    """Disturbs a picture; returns it and the random numbers. texture is the RGB
    picture that stands in for every frost."""
    r = Recorder(seed)
    for k in _numpy_random:
        setattr(np.random, k, getattr(r, k))
    skimage.util.random_noise = lambda *a, **k: _random_noise(*a, **k, rng=Impulses(r))
    cv2.imread = lambda _: texture[..., ::-1].copy()
    try:
        return corrupt(picture, corruption_name=name, severity=severity), r.recorded()
    finally:
        for k, v in _kept.items():
            setattr(np.random, k, v)
        skimage.util.random_noise, cv2.imread = _random_noise, _imread

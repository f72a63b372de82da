"""Slow obvious ZOGY: full complex transforms in double precision (Zackay et al. 2016, eqs. 12-17, 26-29)."""

import numpy as np


def corner(image, shape):
    """Central pixel (n // 2) to (0, 0), zero padded."""
    out = np.zeros(shape)
    h, w = image.shape
    for y in range(h):
        for x in range(w):
            out[(y - h // 2) % shape[0], (x - w // 2) % shape[1]] = image[y, x]
    return out


def zogyReference(n, r, pn, pr, vn, vr, fn=1.0, fr=1.0, planes=None):
    """Dictionary of D, S, Pd, Ps, varD, varS; PSF images with their centres at (0, 0)."""
    shape = n.shape
    hatPn, hatPr = np.fft.fft2(corner(pn, shape)), np.fft.fft2(corner(pr, shape))
    hatN, hatR = np.fft.fft2(n), np.fft.fft2(r)
    den = vn * fr**2 * abs(hatPr**2) + vr * fn**2 * abs(hatPn**2)
    fd = fn * fr / np.sqrt(vn * fr**2 + vr * fn**2)
    cn, cr = fr * hatPr / np.sqrt(den), fn * hatPn / np.sqrt(den)
    hatPd = fn * fr * hatPn * hatPr / (fd * np.sqrt(den))
    kn, kr = fd * np.conj(hatPd) * cn, fd * np.conj(hatPd) * cr
    out = {"Fd": fd, "hatPn": hatPn, "hatPr": hatPr}

    def back(hat):
        return np.fft.ifft2(hat).real

    out["D"], out["S"] = back(cn * hatN - cr * hatR), back(kn * hatN - kr * hatR)
    out["Pd"], out["Ps"] = back(hatPd), back(abs(hatPd) ** 2)
    if planes is not None:
        hats = [np.fft.fft2(plane) for plane in planes]
        for name, kernels in (("varD", (cn, cr)), ("varS", (kn, kr))):
            out[name] = sum(back(hat * np.fft.fft2(back(k) ** 2)) for hat, k in zip(hats, kernels))
    return out

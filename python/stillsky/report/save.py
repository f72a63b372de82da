"""Writing figures."""

__all__ = ["savePng"]


def savePng(figure, path, dpi=100):
    """Write a figure as PNG.

    Parameters
    ----------
    figure : `matplotlib.figure.Figure`
        Figure.
    path : `str`, `os.PathLike` or binary stream
        Where to.
    dpi : `float`
        Pixels per inch.
    """
    figure.savefig(path, format="png", dpi=dpi, metadata={"Software": "stillsky"})

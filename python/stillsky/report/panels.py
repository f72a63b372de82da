"""Single panels of one size, that a page puts side by side or one below the other.

matplotlib spends most of its time on ticks and on looking for room for titles: both are fixed here.
"""

import numpy as np

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "drawMap", "logAxis", "panel", "panelDpi", "title"]

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#6b7280"

#: Pixels per inch: two panels in a row are drawn a little larger than they are shown.
panelDpi = 115
_WIDTH, _HEIGHT = 5.6, 3.7


def panel(*, bar=False, square=False):
    """A figure with one panel.

    Parameters
    ----------
    bar : `bool`
        Leave room for a colour bar.
    square : `bool`
        The panel shows a field of the sky: as high as wide, in a higher figure.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
    axes : `matplotlib.axes.Axes`
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = 4.6 if square else _HEIGHT
    figure = Figure(figsize=(_WIDTH, height))
    right = 0.86 if bar else 0.965
    axes = figure.add_axes([0.125, 0.56 / height, right - 0.125, 1.0 - 0.9 / height])
    axes.tick_params(labelsize=9, color="0.4")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    for side in ("top", "right"):
        axes.spines[side].set_visible(bar)
    for spine in axes.spines.values():
        spine.set_color("0.4")
    return figure, axes


def title(axes, text):
    """A title at the left whose place need not be searched."""
    axes.set_title(text, loc="left", y=1.0, fontsize=10.5)


def logAxis(axes, which, low, high):
    """A logarithmic axis with plain numbers, few enough not to touch each other.

    Parameters
    ----------
    axes : `matplotlib.axes.Axes`
    which : {"x", "y"}
    low, high : `float`
        Limits, above 0.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator(logTicks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plainNumber(value)))


def logTicks(low, high, most=6):
    """Round numbers from low to high: 1, 2, 5 times powers of ten, or powers alone where those are enough."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    step = max(1, -(-(last - first) // most))
    for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**k for k in range(first, last + 1, step if factors == (1,) else 1) for f in factors]
        ticks = [t for t in ticks if 0.999 * low <= t <= 1.001 * high]
        if len(ticks) <= most:
            break
    return ticks


def plainNumber(value):
    """0.01, 3, 2000, 1e-5: what a tick says."""
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}"


def drawMap(axes, values, extent, label, **options):
    """An image over the field with a colour bar in the room that `panel` left; extent as of imshow, parent pixels."""
    options = {"cmap": "cividis", "aspect": "equal", "interpolation": "nearest", **options}
    shown = axes.imshow(values, origin="lower", extent=extent, **options)
    axes.set_facecolor("#9a9a9a")
    axes.set_xlabel("x [px]", fontsize=9)
    axes.set_ylabel("y [px]", fontsize=9)
    colourBar(axes, shown, label)
    return shown


def colourBar(axes, shown, label):
    """A colour bar at the right of a panel."""
    from matplotlib.ticker import MaxNLocator

    bar = axes.figure.colorbar(shown, cax=axes.inset_axes([1.03, 0.0, 0.035, 1.0]), ticks=MaxNLocator(4))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=9)
    return bar


def legend(axes, **options):
    """A legend without a frame, at a fixed place: the best one is expensive to find."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**{"frameon": False, "fontsize": 8.5, "loc": "upper right", **options})

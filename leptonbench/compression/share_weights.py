"""Let the weights of a layer share a few values: small on disk, as fast as before.

One codebook a layer by k-means (Han, Mao and Dally, "Deep Compression", ICLR 2016). Weights are numbers on a line and
many: they are clustered as a fine histogram with counts, which scikit-learn does in a moment and which differs from
clustering them one by one by less than a bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from leptonbench.compression.base import Context, Options, check_options
from leptonbench.errors import NotApplicable

if TYPE_CHECKING:
    from leptonbench.tasks.network import Network

_ENTRIES = (2, 4, 16, 256)  # what whole bits of an index count
_BINS = 4096
_PER_ENTRY = 4  # a layer with fewer weights an entry would be its own codebook


class ShareWeights:
    """Weight sharing by k-means, one codebook a layer; zeros that pruning left stay zero.

    Options: `entries`, values in each codebook.
    """

    stage: ClassVar[Literal["module", "graph"]] = "module"
    order: ClassVar[int] = 40
    uses_calibration: ClassVar[bool] = False
    tunes: ClassVar[bool] = False

    def apply(self, model: Network, options: Options, context: Context) -> Network:
        """Return the network with at most so many different values in each convolution and linear layer.

        Raises:
            UsageError: If an option is unknown or out of range.
            NotApplicable: If no layer is large enough.
        """
        check_options("share-weights", options, {"entries": _ENTRIES})
        entries = int(options.get("entries", 16))
        import torch

        from leptonbench.compression.masks import weight_names

        shared, errors = 0, {}
        for name, weight in weight_names(model).items():
            if weight.numel() < _PER_ENTRY * entries:
                continue
            values = weight.detach().numpy().ravel()
            rounded = share(values, entries)
            power = float(np.square(values).mean())
            errors[name] = float(np.square(rounded - values).mean()) / power if power else 0.0
            with torch.no_grad():
                weight.copy_(torch.from_numpy(rounded.reshape(weight.shape)))
            shared += weight.numel()
        if not errors:
            raise NotApplicable(
                f"no layer of this network has {_PER_ENTRY * entries} weights or more",
                hint="use a smaller codebook: share16",
            )
        context.note("shared_weights", shared)
        context.note("relative_squared_error", {name: round(error, 6) for name, error in errors.items()})
        return model


def share(values: NDArray[np.float32], entries: int) -> NDArray[np.float32]:
    """Return each value's nearest codebook entry.

    Args:
        values: One dimension. If some are zero, zero is one of the entries and they keep it.
        entries: At most so many different values come out; each is one that half precision holds.
    """
    zero = values == 0
    rest = values[~zero]
    if not len(rest):
        return values.copy()
    found = codebook(rest, entries - int(zero.any()))
    shared = np.zeros_like(values)
    shared[~zero] = found[np.searchsorted((found[1:] + found[:-1]) / 2, rest)]
    return shared


def codebook(values: NDArray[np.float32], entries: int) -> NDArray[np.float32]:
    """Return the sorted entries that k-means finds; fewer where the values are fewer."""
    from sklearn.cluster import KMeans

    distinct = np.unique(values)
    if len(distinct) > _BINS:
        counts, edges = np.histogram(values, bins=_BINS)
        centres = (edges[:-1] + edges[1:]) / 2
        points, weights = centres[counts > 0], counts[counts > 0].astype(np.float64)
    else:
        points, counts = np.unique(values, return_counts=True)
        weights = counts.astype(np.float64)
    entries = min(entries, len(points))
    # An even start over the range reaches the few large weights, which matter most; k-means then moves it to the many.
    start = np.interp(np.linspace(0, len(points) - 1, entries), np.arange(len(points)), points)
    means = KMeans(entries, init=start[:, None], n_init=1, max_iter=100).fit(points[:, None], sample_weight=weights)
    return np.unique(means.cluster_centers_.ravel().astype(np.float16)).astype(np.float32)

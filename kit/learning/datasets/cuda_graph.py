"""A function of tensors recorded as a CUDA graph: hundreds of short kernels start at once. Knows no photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

_REHEARSALS = 2  # before a recording: libraries choose their ways, and tables are made


class CudaGraph:
    """Callable as the function that it has recorded, with tensors of the shapes that it was recorded with."""

    def __init__(self, function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> None:
        """
        Args:
            function: of tensors to a tensor; it never waits for the device, and looks at shapes alone.
            inputs: on one CUDA device.
        """
        self._inputs = [part.clone() for part in inputs]
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(_REHEARSALS):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return what the function gives for these inputs."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._output.clone()

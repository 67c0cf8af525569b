"""PyTorch on the task of gpu.py: eager with the fused AdamW, or the whole step in a CUDA graph."""

from __future__ import annotations

import torch
from gpu_case import Case, Values, floats_and_labels, network
from torch import nn
from torch_lenet import lenet5

STEPS_BEFORE_CAPTURE = 3  # allocate the gradients and the optimizer's state, choose the kernels


class TorchSteps:
    """A training step of PyTorch; see ``gpu_case.System``."""

    def __init__(self, case: Case, graph: bool) -> None:
        if case.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} finds no GPU")
        if graph and case.device != "cuda":
            raise RuntimeError("a CUDA graph needs a GPU")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # time each convolution's algorithms, keep the best
        self.gpu, self.graph = case.device == "cuda", None
        self.model = network_of(case).to(case.device)
        self.x, self.y = (
            torch.from_numpy(a).to(case.device) for a in floats_and_labels(case.batch)
        )
        self.cross_entropy = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=case.lr,
            betas=case.betas,
            eps=case.eps,
            weight_decay=case.weight_decay,
            fused=True if self.gpu else None,
            capturable=graph,
        )
        if graph:
            self._capture()
        self.about = f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"

    def steps(self, n: int) -> None:
        step = self.graph.replay if self.graph else self._step
        for _ in range(n):
            step()

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def last(self) -> tuple[float, Values, Values]:
        gradients = {name: p.grad.cpu().numpy() for name, p in self.model.named_parameters()}
        state = {name: a.cpu().numpy().copy() for name, a in self.model.state_dict().items()}
        return float(self.loss.detach()), gradients, state

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = self.cross_entropy(self.model(self.x), self.y)
        self.loss.backward()
        self.optimizer.step()

    def _capture(self) -> None:
        """Capture a step as PyTorch's documentation does, then start again from the beginning."""
        before = [t.clone() for t in self.model.state_dict().values()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(STEPS_BEFORE_CAPTURE):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.loss = None  # and with it the nodes of its graph, which belong to the side stream
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        for tensor, start in zip(self.model.state_dict().values(), before, strict=True):
            tensor.copy_(start)
        for moments in self.optimizer.state.values():
            for tensor in moments.values():
                tensor.zero_()
        self.graph = graph


def network_of(case: Case) -> nn.Module:
    """Return the network of ``nplenet.models.LeNet5`` with its weights."""
    model = lenet5(case.dropout)
    state = network(case).state_dict()
    model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()})
    return model

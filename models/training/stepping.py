"""One step of one fit: batch, loss, gradients, weights, average. What happens in a step depends on its number alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.training.randomness import derived, generator, order
from models.training.task import Task

Found = TypeVar("Found")


class Stepper:
    """A network in training on one device, as one of `world` ranks that share every batch.

    `rates` are the optimizer's full learning rates; `averaged` the moving average of the weights, None without one;
    `micro` the most examples in one forward pass, halved whenever the device runs out of memory.
    """

    def __init__(
        self, task: Task, seed: int, label: str, device: str, rank: int = 0, world: int = 1, micro: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Build the network and its optimizer; with `world` above 1 the process group must be there."""
        self.task, self.seed, self.label, self.device = task, seed, label, device
        self.rank, self.world, self.say = rank, world, say
        torch.manual_seed(derived(seed, label, "build"))
        self.network = task.build().to(device)
        self.optimizer = task.optimizer(self.network)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.averaged = copy.deepcopy(self.network).requires_grad_(False) if task.ema else None
        self._pairs = _pairs(self.averaged, self.network)
        self.micro = micro or task.batch_size
        half = task.precision == "fp16" and device.startswith("cuda")
        self.scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=half)
        self._kind = device.partition(":")[0]
        self._half = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16 if half else torch.bfloat16}[
            task.precision
        ]
        self._epoch: tuple[int, Tensor] | None = None
        if world > 1:
            # From here on running statistics are those of each rank; rank 0's are the ones that are kept.
            for tensor in self.network.state_dict().values():
                dist.broadcast(tensor, 0)
        self.network.train()

    def shape(self) -> tuple[Any, ...]:
        """What the cost of a step depends on: what the task is, sizes, batch, precision."""
        sizes = tuple(tuple(value.shape) for value in self.network.state_dict().values())
        task = self.task
        return type(task), sizes, task.examples, task.batch_size, task.precision, bool(task.ema)

    def step(self, number: int, done: float = 0.0) -> Tensor:
        """Make step `number` (from 0) when the share `done` lies behind; the loss, on the device.

        The mean of it over the ranks is the mean loss over the batch.

        Raises torch.OutOfMemoryError where not even one example fits.
        """
        factor = self.task.schedule(done)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        loss = self._gradients(number)
        if self.task.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.task.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # The decay grows with the step, so that the average forgets the random start within the first epochs.
        self._average(min(self.task.ema, number / (number + 10)))
        return loss

    def shown(self) -> nn.Module:
        """The network that is validated and returned."""
        return self.network if self.averaged is None else self.averaged

    def validate(self, tick: Callable[[], None] = lambda: None) -> dict[str, float]:
        """The task's figures for the network as it is. `tick` is called before each of its forward passes."""
        return {name: float(value) for name, value in self._looked(self.task.validate, tick).items()}

    def picture(self) -> bytes | None:
        """The task's picture of what the network as it is has learnt."""
        return self._looked(self.task.picture)

    def _looked(self, look: Callable[[nn.Module], Found], tick: Callable[[], None] = lambda: None) -> Found:
        shown = self.shown()
        shown.eval()
        hook = shown.register_forward_pre_hook(lambda *_: tick())
        try:
            with torch.no_grad():
                found = look(shown)
        finally:
            hook.remove()
        self.network.train()
        return found

    def settle(self) -> None:
        """Wait for the device, where a clock is read."""
        if self._kind == "cuda":
            torch.cuda.synchronize(self.device)

    def _gradients(self, number: int) -> Tensor:
        """Gradients of the mean loss over the whole batch; with too little memory in smaller portions."""
        index, weight = self._share(number)
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = self._accumulate(number, torch.split(index, self.micro), weight, len(index))
                break
            except torch.OutOfMemoryError:
                if self.micro <= 1:
                    raise
                self.micro = (min(self.micro, len(index)) + 1) // 2
                self.say(f"{self.label}: out of memory; {self.micro} examples at once from here on, same batch")
            if self._kind == "cuda":
                torch.cuda.empty_cache()
        if self.world > 1:
            self._share_gradients()
        return loss

    @torch.no_grad()
    def _share_gradients(self) -> None:
        """Every rank has the mean of all ranks' gradients.

        After the backward pass, and not during it as by DistributedDataParallel: memory may run out in the middle of it
        on one rank alone, which then starts it again while the others wait here.
        """
        parameters = [one for one in self.network.parameters() if one.requires_grad]
        reached = torch.tensor([one.grad is not None for one in parameters], dtype=torch.int32, device=self.device)
        dist.all_reduce(reached, dist.ReduceOp.MAX)
        used = [one for one, anywhere in zip(parameters, reached.tolist(), strict=True) if anywhere]
        for one in used:
            one.grad = torch.zeros_like(one) if one.grad is None else one.grad
        gradients = [one.grad for one in used if one.grad is not None]
        mean = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(mean)
        mean /= self.world
        parts = torch.split(mean, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _accumulate(self, number: int, portions: tuple[Tensor, ...], weight: float, count: int) -> Tensor:
        """`weight` times the mean loss over `count` examples, and its gradients, from the portions they come in."""
        torch.manual_seed(derived(self.seed, self.label, "step", number, self.rank))
        random = generator(self.seed, self.label, "batch", number, self.rank)
        total = torch.zeros((), device=self.device)
        loss_of = self.task.loss_of(number)
        for portion in portions:
            batch = moved(self.task.batch(portion, random), self.device)
            with torch.autocast(self._kind, self._half, enabled=self._half is not None):
                loss = loss_of(self.network, batch)
            weighted = loss.float() * (weight * len(portion) / count)
            torch.autograd.backward(self.scaler.scale(weighted))
            total += weighted.detach()
        return total

    def _share(self, number: int) -> tuple[Tensor, float]:
        """This rank's examples of the batch, and the weight by which the ranks' mean becomes the batch's.

        A batch with fewer examples than ranks leaves a rank without one: it repeats the first with the weight 0.
        """
        size, examples = self.task.batch_size, self.task.examples
        epoch, place = divmod(number, -(-examples // size))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, order(self.seed, self.label, epoch, examples)
        index = self._epoch[1][place * size : (place + 1) * size]
        mine = index[self.rank :: self.world]
        if not len(mine):
            return index[:1], 0.0
        return mine, len(mine) * self.world / len(index)

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        """Move the average towards the network: parameters and running statistics alike, counters copied."""
        for kept, new in self._pairs:
            if kept.is_floating_point():
                kept.lerp_(new, 1 - decay)
            else:
                kept.copy_(new)


def _pairs(averaged: nn.Module | None, network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The tensors of the average beside those of the network, looked up once: both are changed in place."""
    if averaged is None:
        return []
    return list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))


def moved(batch: Any, device: str) -> Any:
    """A batch on a device, whatever its tuples, lists and dicts are made of; on the CPU it is as it was."""
    if device == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: moved(value, device) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(moved(value, device) for value in batch)
    return batch

# %% [markdown]
# # A network of your own, from snnTorch to C
#
# A spiking network as one would write it in snnTorch: explicit states, a loop over time. It is trained, quantised as
# it stands, held against itself, and becomes plain C. The script `network.py` and the notebook `network.ipynb` are the
# same.

# %%
import subprocess

import numpy as np
import snntorch as snn
import torch
from torch import nn

from sne_edge import HostModel, compare_network, export_model, quantize_network, save

torch.manual_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Data
#
# Three sensor channels over 20 timesteps stand for yours: `[N, timesteps, channels]`, every value present at its own
# timestep. The classes are how fast the wave is.


# %%
def recorded(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples float32 [count, 20, 3], labels int64 [count]."""
    y = rng.integers(0, 3, count)
    t = np.arange(20)[None, :, None]
    phase = rng.uniform(0, 6.28, (count, 1, 1)) + np.arange(3) * 2
    x = np.sin(t * (0.3 + 0.35 * y[:, None, None]) + phase) + rng.normal(0, 0.1, (count, 20, 3))
    return x.astype(np.float32), y


x, y = recorded(600)
held, labels = recorded(300)

# %% [markdown]
# ## The network
#
# Its `forward` takes `[N, timesteps, channels]` and returns what it spiked at each timestep.


# %%
class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 32), nn.Linear(32, 3)
        self.lif1, self.lif2 = snn.RLeaky(beta=0.8, linear_features=32), snn.Leaky(beta=0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spk1, mem1 = self.lif1.init_rleaky()
        mem2 = self.lif2.init_leaky()
        record = []
        for t in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), spk1, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(spk2)
        return torch.stack(record, dim=1)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for _ in range(80):
    loss = nn.functional.cross_entropy(network(torch.from_numpy(x)).sum(1), torch.from_numpy(y))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# ## Integers
#
# `quantize_network` follows the forward pass on your samples, makes int8 weights and integer thresholds of it, and
# says on how many samples the integers give the network's own label. Below 95 % it warns, below 80 % it makes nothing.

# %%
model = quantize_network(network, "mine", held, timesteps=20, encoder="frames", labels=labels)
print(f"{model.provenance['agreement']:.1%} of the samples get the network's own label")
print({name: f"{share:.1%}" for name, share in model.provenance["accuracy"].items()})

# %% [markdown]
# Where do they part? Population by population, on some samples:

# %%
found = compare_network(network, model, held[:100])
for part in found.populations:
    rates = [f"{rate:.4f}" for rate in (part.float_rate, part.integer_rate) if rate is not None]
    print(
        f"{part.name}: {part.neurons} neurons; spikes a neuron and timestep, network and integers: {', '.join(rates)}"
    )

# %% [markdown]
# ## C
#
# The file, the C, and its golden vectors compiled and run here. On this computer, whole batches run in that very C.

# %%
save(model, "mine.sne")
export_model(model, "cortex-m4", "mine-c")
print(subprocess.run(["make", "-s", "-C", "mine-c", "check"], capture_output=True, text=True, check=True).stdout)

# %%
batch = HostModel(model).run(model.encoder.encode(held))
print(f"{(batch.label == labels).mean():.1%} right, {batch.synaptic_ops.mean():,.0f} synaptic operations a sample")

# %% [markdown]
# Next: `sne-edge verify mine.sne`, which runs an emulated core as well; `sne-edge report mine.sne`; and on a board
# `sne-edge flash mine.sne --board microbit`, `sne-edge bench mine.sne --on /dev/ttyACM0`.

# %% [markdown]
# # Gestures in a stream that never ends
#
# A model learns windows of 40 timesteps; on the device samples come without end, and nobody says where a gesture
# begins. The script `live.py` and the notebook `live.ipynb` are the same; `model.py` beside them has the recordings and
# the network, and `make run` runs the C with its ring buffer between interrupt and main loop.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from model import INPUTS, NAMES, TIMESTEPS, events, recorded, train

from sne_edge import quantize_network, stream_model
from sne_edge.check.reference import run_stream

torch.manual_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Events
#
# Three axes of an accelerometer become events: a change above a level is one, of its axis, direction and level.

# %%
labels, held, shown = (rng.integers(0, len(NAMES), count) for count in (512, 128, 12))
x = events(recorded(labels, 1))
print(f"{len(x)} gestures of {TIMESTEPS} timesteps and {INPUTS} inputs, {x.mean():.1%} of which have an event")

# %% [markdown]
# ## A model of windows
#
# Trained and quantised as any other; with a reset before each gesture it is right on nearly all of them.

# %%
network = train(torch.from_numpy(x), torch.from_numpy(labels))
model = quantize_network(
    network, "gestures", events(recorded(held, 2)), timesteps=TIMESTEPS, encoder="events", labels=held, classes=NAMES
)
print(f"with a reset before each gesture: {model.provenance['accuracy']['integer']:.1%} right")

# %% [markdown]
# ## A stream
#
# Twelve gestures back to back, and no reset. A readout that adds up for ever names what there was most of; one that
# forgets, here all but the last 20 timesteps, follows. `run_stream` is the reference; the C gives the same integers at
# each timestep.

# %%
steps = model.encoder.encode(events(recorded(shown, 3))).reshape(1, len(shown) * TIMESTEPS, -1)
said = {}
for name, made in {"for ever": model, "the last 20 timesteps": stream_model(model, window=TIMESTEPS // 2)}.items():
    said[name] = run_stream(made, steps)[0].argmax(axis=1)
    right = (said[name][TIMESTEPS - 1 :: TIMESTEPS] == shown).sum()
    print(f"adding up {name}: {right} of {len(shown)} gestures named by their end")

# %%
figure, axes = plt.subplots(figsize=(9, 2.6))
axes.step(np.arange(len(shown) * TIMESTEPS) / 50, np.repeat(shown, TIMESTEPS), color="0.7", linewidth=6, label="is")
axes.step(np.arange(len(shown) * TIMESTEPS) / 50, said["the last 20 timesteps"], label="said")
axes.set(xlabel="seconds", yticks=range(len(NAMES)), yticklabels=NAMES)
axes.legend(loc="upper right")
figure.savefig("gestures-live.png")

# %% [markdown]
# The label that leads flickers where one gesture gives way to the next. `gesture.c` believes it after six timesteps in
# a row.

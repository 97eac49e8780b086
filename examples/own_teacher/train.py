"""A teacher of one's own, any torch module with `features` and a linear `classifier`, distilled into three students.

Writes `students.sne`, its settings' figures printed. A minute or less on one core: epochs are few.
"""

from __future__ import annotations

import torch
from torch import nn

from sne_edge import TrainConfig, load_dataset, save, train_ensemble
from sne_edge.learn.distill import Recipe
from sne_edge.learn.student import Body


class Teacher(nn.Module):
    """Whatever was trained elsewhere: `features` gives float [N, d] of samples [N, channels, length]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 32, 5, stride=2, padding=2), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Conv1d(32, 64, 5, stride=2, padding=2), nn.BatchNorm1d(64), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(640, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


def taught(data, epochs: int = 4) -> Teacher:
    """Stands for your own training."""
    torch.manual_seed(0)
    teacher = Teacher(len(data.classes))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    x, y = torch.tensor(data.x_train[:, 0]).movedim(-1, 1), torch.tensor(data.y_train)  # channels first
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(teacher(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return teacher.eval()


def main() -> None:
    data = load_dataset("mnist1d")
    config = TrainConfig(
        "mnist1d", scheme="contiguous", students=3, timesteps=2, views=1, name="students",
        body=Body((4, 16, 16), (5, 5, 3), (2, 2, 2)), recipe=Recipe(joint=4, rounded=1, batch=128),
    )  # fmt: skip
    made = train_ensemble(config, dataset=data, teacher=taught(data))
    print(f"teacher: {made.provenance['teacher']['test']:.1%} of the test samples")
    for row in made.provenance["integer"]["test"]:
        print(f"{row['policy']:<24} {row['accuracy']:.1%}, {row['operations']:,.0f} operations")
    save(made, "students.sne")


if __name__ == "__main__":
    main()

"""The table of what is read and what is refused is what the readers do."""

from __future__ import annotations

from pathlib import Path

import snntorch as snn

from sne_edge.interchange.supported import Row, markdown, rows
from sne_edge.interchange.trace import NEURONS

PAGE = Path(__file__).parents[1] / "docs" / "SUPPORTED.md"


def test_the_page_is_what_the_command_prints_and_refusals_name_a_layer_and_a_reason() -> None:
    found = rows()
    assert PAGE.read_text().splitlines()[5:] == markdown(found).splitlines()[5:], (
        "sne-edge supported > docs/SUPPORTED.md"
    )
    read, refused = [[row for row in found if bool(row.refused) == wanted] for wanted in (False, True)]
    assert len(read) > 60
    assert len(refused) > 25
    assert all(len(row.refused) > 20 for row in refused)
    whole = {row.what.partition(",")[0] for row in read if row.of == "snnTorch"}
    assert whole == {kind.__name__ for kind in NEURONS}
    assert Row("snnTorch", "Leaky, reset zero, late") in found
    assert snn.SLSTM.__name__ in {row.what for row in refused}

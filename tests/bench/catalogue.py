"""All that can be measured, in the order of a run, and the rows that are made of two others."""

from typing import Final

from tests.bench import chain_measures, measures, wan_measures

MEASURES: Final = (*measures.MEASURES, *chain_measures.CHAIN_MEASURES, *wan_measures.WAN_MEASURES)

QUOTIENTS: Final = (
    (measures.COPY_TIMES, measures.COPY_CPU, measures.BULK_CPU),
    *chain_measures.QUOTIENTS,
)
"""Each: the row that is made, the one above the line, the one below it."""

"""The benchmark of texts runs, and our plugins are far ahead even on a machine that is busy with other tests."""

import pytest

from benchmarks.sms_speed import URLS, measure

pytestmark = pytest.mark.one_database


def test_texts_go_out_much_faster_than_through_stock_apprise() -> None:
    found = measure(200, rounds=1)
    assert found["stub"] > max(found[schema]["ours"] for schema in URLS)  # or the stub is what was measured
    for schema in URLS:
        assert found[schema]["ratio"] >= 5  # ten is promised where nothing else runs

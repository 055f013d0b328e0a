"""Parts of bench/run: targets, comparison table, the other measured claims."""

"""One task and one method for dtvg-bench, as an outside package brings them."""

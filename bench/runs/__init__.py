"""The grid: plan of cells, their execution, and what is stored of them."""

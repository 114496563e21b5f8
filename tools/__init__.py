"""Programs that made what the package ships; the package itself imports none of them."""

"""What a grid will cost before it starts: steps, tokens, hours and disk, and what a budget buys."""

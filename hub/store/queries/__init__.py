"""Read models of the pages: plain values, each drawn by one function that keeps to one merchant."""

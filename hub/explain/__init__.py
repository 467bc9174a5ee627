"""Why stock is what it is: the story of a SKU, and the cause of a sale of something that was not there.

Nothing here changes anything. Every query is bounded, so that a SKU with a long history is explained as quickly as a
new one; where what would be needed is not kept any more, that is said instead of guessed.
"""

"""The hub in a small world that can be repeated: shops, customers, a warehouse and everything that goes wrong between
them, all drawn from one seed, in one process, on a clock that only moves when the world says so.

The hub is the production hub: its lanes, its inbox, its database. Shops are objects in memory that its connector class
talks to without a network. Nothing in the hub knows about this: time is moved under it, and what fails, fails where a
vendor or a machine would.
"""
